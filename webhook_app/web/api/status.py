"""`GET /v1/jobs/{track_id}`: one job as it is, or as soon as it has ended."""

from enum import StrEnum
from typing import Annotated

from flask import Flask, request
from flask.typing import ResponseReturnValue
from pydantic import Field

from webhook_app.domain.errors import TooManyWaiters
from webhook_app.domain.job import ARCHIVE_SETTLED, TERMINAL, ArchiveStatus, Scope, Status
from webhook_app.store import reads
from webhook_app.web import reading
from webhook_app.web.answers import JobAnswer
from webhook_app.web.paging import Query
from webhook_app.web.registry import Registry
from webhook_app.web.showing import job_response, own_job
from webhook_app.web.waiting import Waiting, waiting_of
from webhook_app.wiring import Parts

RETRY_AFTER_S = 5
HONOURED = {
    "Prefer": "`wait=N`, as the parameter `wait`.",
    "If-None-Match": "The ETag of the last answer: 304 when nothing has changed.",
}


class Until(StrEnum):
    """What a wait waits for: the job's end, or the end of its archiving as well."""

    TERMINAL = "terminal"
    ARCHIVED = "archived"


class StatusQuery(Query):
    """How long to wait, and for what."""

    wait: Annotated[int, Field(ge=0, le=999_999_999, description="Seconds, cut to the installation's most.")] | None = (
        None
    )
    until: Until = Until.TERMINAL


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """The route that everyone asks most."""
    waiting = waiting_of(app, parts)

    @registry.route(
        app,
        "GET",
        "/v1/jobs/<track_id>",
        scope=Scope.READ,
        summary="One job",
        query=StatusQuery,
        headers=HONOURED,
        answers={200: JobAnswer, 304: None, 404: None, 410: None, 422: None},
    )
    def get_job(track_id: str) -> ResponseReturnValue:
        """With a wait it answers as soon as the job has ended, and when the wait ends with whatever is true then."""
        asked = reading.query(StatusQuery)
        wait_s = reading.preferred_wait_s() if asked.wait is None else asked.wait
        headers = {} if wait_s is None else _wait(parts, waiting, track_id, wait_s, asked.until)
        return job_response(parts, track_id, 200, headers).make_conditional(request)


def _wait(parts: Parts, waiting: Waiting, track_id: str, wait_s: int, until: Until) -> dict[str, str]:
    wait_s = min(wait_s, parts.settings.wait_max_s)
    with parts.store.looking() as connection:
        own_job(connection, track_id)  # Nobody waits for what is not theirs.
    try:
        waiting.wait_until(lambda: _is_over(parts, track_id, until), [track_id], wait_s)
    except TooManyWaiters as error:
        return {"Retry-After": str(error.retry_after_s or RETRY_AFTER_S)}
    return {"Preference-Applied": f"wait={wait_s}"}


def _is_over(parts: Parts, track_id: str, until: Until) -> bool:
    with parts.store.looking() as connection:
        found = reads.states_of(connection, [track_id]).get(track_id)
    return found is None or is_over(found[0], found[1], until)


def is_over(status: Status, archive_status: ArchiveStatus, until: Until) -> bool:
    """Whether a wait of this kind has come to its end. Nothing to archive counts as archived."""
    if status not in TERMINAL:
        return False
    return until is Until.TERMINAL or archive_status is ArchiveStatus.NONE or archive_status in ARCHIVE_SETTLED
