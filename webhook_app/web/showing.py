"""From the database to an answer: jobs that a caller may see, shown with all that belongs to them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response
from sqlalchemy import Connection

from webhook_app.domain.errors import Erased, NotFound
from webhook_app.domain.ids import is_track_id
from webhook_app.domain.job import Status
from webhook_app.flows import show
from webhook_app.store import reads
from webhook_app.store.reads import State
from webhook_app.web import representations
from webhook_app.web.auth import caller
from webhook_app.web.respond import json_response
from webhook_app.web.states import States
from webhook_app.web.together import Together
from webhook_app.wiring import Parts, addresses, links

NO_SUCH_JOB = "There is no such job."
ANSWERS = "answers"
Shown = tuple[dict[str, Any], dict[str, Any]]  # A job's row, and as an answer shows it.
SHOWN_AT_ONCE = 100  # The others of this process have their turn in between.


def own_state(states: States, track_id: str) -> State:
    """How the caller's job stands, read together with what others ask at the same time. Raises as `own_job` does."""
    state = states.of([track_id]).get(track_id) if is_track_id(track_id) else None
    if state is None or caller().sees not in (None, state.client_id):
        raise NotFound(NO_SUCH_JOB)
    if state.erased:
        raise Erased("This job has been erased.")
    return state


def own_job(connection: Connection, track_id: str) -> dict[str, Any]:
    """The caller's job. Raises `NotFound` (another client's job is one) and `Erased`."""
    row = reads.job(connection, track_id, caller().sees) if is_track_id(track_id) else None
    if row is None:
        raise NotFound(NO_SUCH_JOB)
    _refuse_erased(row)
    return row


def _refuse_erased(row: dict[str, Any]) -> None:
    if row["erased_at"] is not None:
        raise Erased("This job has been erased.")


def shown_jobs(parts: Parts, connection: Connection, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The jobs as answers show them, in the same order."""
    return show.jobs(connection, rows, addresses(parts), now=datetime.now(UTC))


def new_job_response(
    parts: Parts, job: dict[str, Any], images: Sequence[dict[str, Any]], headers: dict[str, str]
) -> Response:
    """A job that was committed just now: nothing is read back, and so its place in the queue is not told."""
    shown = show.job(
        job,
        [image | reads.WITHOUT_BLOB for image in images],
        addresses(parts),
        next_action_at=job["due_at"],
        queue_position=None,
        now=datetime.now(UTC),
    )
    return _response(parts, shown, job, 202, headers)


class Answers:
    """Jobs as they are shown, each read together with those that others ask for at the same time."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._jobs: Together[reads.JobWithImages] = Together(self._read, most_at_once=SHOWN_AT_ONCE)
        # To tell places in the queue takes longer: it holds up nobody whose job has left it.
        self._queued: Together[Shown] = Together(self._show_queued, most_at_once=SHOWN_AT_ONCE)

    def response(self, track_id: str, status: int = 200, headers: dict[str, str] | None = None) -> Response:
        """The caller's job as it is now, with its ETag. Raises as `own_job` does."""
        whole = self._jobs.of([track_id]).get(track_id) if is_track_id(track_id) else None
        if whole is None or caller().sees not in (None, whole.job["client_id"]):
            raise NotFound(NO_SUCH_JOB)
        row = whole.job
        if row["status"] == Status.QUEUED:
            row, shown = self._queued.of([track_id])[track_id]
        else:
            shown = show.under_way(whole, addresses(self._parts), now=datetime.now(UTC))
        _refuse_erased(row)
        return _response(self._parts, shown, row, status, headers)

    def _read(self, track_ids: Sequence[str]) -> dict[str, reads.JobWithImages]:
        return reads.jobs_with_images(self._parts.store, track_ids)

    def _show_queued(self, track_ids: Sequence[str]) -> dict[str, Shown]:
        """Those that have left the queue since then are shown as they are now."""
        whole = list(self._read(track_ids).values())
        with self._parts.store.looking() as connection:
            shown = show.found(connection, whole, addresses(self._parts), now=datetime.now(UTC))
        return {each.job["track_id"]: (each.job, job) for each, job in zip(whole, shown, strict=True)}


def answers_of(app: Flask, parts: Parts) -> Answers:
    """The application's one, made when first asked for."""
    if ANSWERS not in app.extensions:
        app.extensions[ANSWERS] = Answers(parts)
    found: Answers = app.extensions[ANSWERS]
    return found


def _response(
    parts: Parts, shown: dict[str, Any], row: dict[str, Any], status: int, headers: dict[str, str] | None
) -> Response:
    signs = links(parts)
    # Signed addresses become others while the job stays the same: a client must not keep those that end.
    etag = representations.etag(row) + (f".{signs.ends(datetime.now(UTC))}" if signs else "")
    own = {"ETag": f'"{etag}"', "Cache-Control": "private, no-cache"}
    return json_response(shown, status, headers | own if headers else own)
