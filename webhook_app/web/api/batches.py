"""`/v1/batches`: many jobs by one request, all or none; how far they are, and stopping them."""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, request
from flask.typing import ResponseReturnValue

from webhook_app.domain.errors import MalformedJson, NotFound, ProblemError, TooManyWaiters, UnsupportedMediaType
from webhook_app.domain.ids import is_id
from webhook_app.domain.job import Scope
from webhook_app.flows import batches, show
from webhook_app.flows.accept import JobRequest
from webhook_app.flows.room import QueueRoom
from webhook_app.store import reads
from webhook_app.web import paging, reading
from webhook_app.web.answers import BatchAnswer, BatchList, NewBatchAnswer
from webhook_app.web.api.status import HONOURED, RETRY_AFTER_S, StatusQuery
from webhook_app.web.asking import KEY_HONOURED, LOOK_AGAIN_AFTER_S, idempotency_of, job_request, room_of
from webhook_app.web.auth import caller
from webhook_app.web.registry import Registry
from webhook_app.web.respond import json_response
from webhook_app.web.schemas import BatchBody, BatchOfJobs, job_of
from webhook_app.web.states import Until
from webhook_app.web.together import Together
from webhook_app.web.waiting import Waiting, waiting_of
from webhook_app.wiring import Parts, addresses

AtWork = Mapping[bool, Together[bool]]  # By whether what is left to be copied counts.
LARGEST_BODY = 16 << 20
NDJSON = "application/x-ndjson"
LIMIT = "The body of a batch may have 16 MiB."
MOST_FAULTS = 200
AT_ONCE = 50


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """The routes."""
    _submit(app, parts, registry, room_of(app, parts))
    _list(app, parts, registry)
    _show(app, parts, registry, waiting_of(app, parts))
    _cancel(app, parts, registry)


def _submit(app: Flask, parts: Parts, registry: Registry, room: QueueRoom) -> None:
    @registry.route(
        app,
        "POST",
        "/v1/batches",
        scope=Scope.SUBMIT,
        summary="Submit many jobs",
        body=(BatchOfJobs, NDJSON),
        headers=KEY_HONOURED,
        answers={202: NewBatchAnswer} | dict.fromkeys((400, 409, 410, 413, 415, 422, 429)),
    )
    def post_batch() -> ResponseReturnValue:
        """At most 1,000, in 16 MiB: all of them or, when one is wrong, none. Each is asked for as by `POST /v1/jobs`;
        as `application/x-ndjson` there is one on each line. `track_ids` are in the order of the jobs, and pointers say
        which one is wrong: `/jobs/17/input/width`."""
        body = _body()
        requests = _requests(parts, body)
        who = caller()
        made = batches.accept(
            parts.store,
            requests,
            client_id=who.client_id,
            key_id=who.key_id,
            idempotency_key=idempotency_of(body),
            location_for=lambda batch_id: show.batch_url(batch_id, parts.settings.public_url),
            room=room,
            now=datetime.now(UTC),
        )
        headers = {"Location": made.location, "Retry-After": str(LOOK_AGAIN_AFTER_S)}
        if made.replayed:
            headers["Idempotent-Replayed"] = "true"
        return json_response({"batch_id": made.batch_id, "track_ids": made.track_ids}, 202, headers)


def _body() -> dict[str, Any]:
    """What is asked for, in either form, as the one with `jobs`."""
    if request.mimetype != NDJSON:
        try:
            body = reading.json_body(largest=LARGEST_BODY, limit=LIMIT)
        except UnsupportedMediaType:
            raise UnsupportedMediaType(f'Send {{"jobs": […]}} as application/json, or {NDJSON}.') from None
        return {"jobs": reading.validated(BatchBody, body).jobs}
    lines = reading.whole_body(largest=LARGEST_BODY, limit=LIMIT).split(b"\n")
    jobs = list(_jobs_of([(number, line) for number, line in enumerate(lines, start=1) if line.strip()]))
    return {"jobs": reading.validated(BatchBody, {"jobs": jobs}).jobs}


def _jobs_of(lines: list[tuple[int, bytes]]) -> Iterator[Any]:
    for place, (number, line) in enumerate(lines):
        try:
            yield reading.parse(line)
        except MalformedJson as error:
            raise MalformedJson(f"Line {number}: {error.detail}") from error
        except ProblemError as error:
            reading.refuse(_within(place, error))


def _requests(parts: Parts, body: dict[str, Any]) -> list[JobRequest]:
    """All jobs, or the faults of all of them."""
    asked, faults, unknown = [], [], True
    for place, job in enumerate(body["jobs"]):
        if place % AT_ONCE == 0:
            time.sleep(0)  # Under gevent the other requests, callbacks among them, have their turn.
        try:
            asked.append(job_request(parts, job_of(job)))
        except ProblemError as error:
            faults += _within(place, error)
            unknown = unknown and error.code == "unknown_field"
        if len(faults) >= MOST_FAULTS:
            break
    reading.refuse(faults, unknown=unknown)
    return asked


def _within(place: int, error: ProblemError) -> list[reading.Fault]:
    return [fault | {"pointer": f"/jobs/{place}{fault['pointer']}"} for fault in error.errors]


def _list(app: Flask, parts: Parts, registry: Registry) -> None:
    @registry.route(
        app,
        "GET",
        "/v1/batches",
        scope=Scope.READ,
        summary="List batches",
        query=paging.Page,
        answers={200: BatchList, 422: None},
    )
    def get_batches() -> ResponseReturnValue:
        """Newest first. Their jobs: `GET /v1/jobs?batch_id=…`."""
        listing = paging.Listing(parts, "batches", ("created_at", "batch_id"))
        after = paging.instant_and_id(listing.after)
        with parts.store.reading() as connection:
            found = reads.batches(connection, caller().sees, after=after, limit=listing.limit + 1)
        shown = [show.batch(each, addresses(parts)) for each in found[: listing.limit]]
        return listing.shown(shown, [dict(each.row._mapping) for each in found])


def _show(app: Flask, parts: Parts, registry: Registry, waiting: Waiting) -> None:
    at_work = {archived: _at_work(parts, archived=archived) for archived in (False, True)}

    @registry.route(
        app,
        "GET",
        "/v1/batches/<batch_id>",
        scope=Scope.READ,
        summary="One batch",
        query=StatusQuery,
        headers=HONOURED,
        answers={200: BatchAnswer, 304: None, 404: None, 422: None},
    )
    def get_batch(batch_id: str) -> ResponseReturnValue:
        """How many of its jobs stand how. With a wait it answers as soon as all have ended (`until=archived`: and all
        pictures are copied or lost), and when the wait ends with whatever is true then. Erased jobs stay counted."""
        asked = reading.query(StatusQuery)
        wait_s = reading.preferred_wait_s() if asked.wait is None else asked.wait
        if wait_s is None:
            return _response(parts, batch_id).make_conditional(request)
        headers = _wait(parts, waiting, at_work, batch_id, wait_s, asked.until)
        with waiting.turn():
            return _response(parts, batch_id, headers).make_conditional(request)


def _at_work(parts: Parts, *, archived: bool) -> Together[bool]:
    """Looks for all who wait for batches, with one query."""

    def read(ids: Sequence[str]) -> dict[str, bool]:
        with parts.store.looking() as connection:
            return dict.fromkeys(reads.batches_at_work(connection, ids, archived=archived), True)

    return Together(read)


def _wait(parts: Parts, waiting: Waiting, at_work: AtWork, batch_id: str, wait_s: int, until: Until) -> dict[str, str]:
    archived = until is Until.ARCHIVED
    wait_s = min(wait_s, parts.settings.wait_max_s)

    def over(_: Collection[str]) -> bool:
        return batch_id not in at_work[archived].of([batch_id])

    _own_batch(parts, batch_id)  # Nobody waits for what is not theirs.
    # Its completion is told under the batch's own id; copies are told of each job.
    keys = [batch_id]
    if archived:
        with parts.store.looking() as connection:
            keys += reads.track_ids_of_batch(connection, batch_id)
    try:
        waiting.wait_until(over, keys, wait_s)
    except TooManyWaiters as error:
        return {"Retry-After": str(error.retry_after_s or RETRY_AFTER_S)}
    return {"Preference-Applied": f"wait={wait_s}"}


def _cancel(app: Flask, parts: Parts, registry: Registry) -> None:
    @registry.route(
        app,
        "POST",
        "/v1/batches/<batch_id>/cancel",
        scope=Scope.SUBMIT,
        summary="Cancel a batch",
        answers={200: BatchAnswer, 404: None},
    )
    def post_batch_cancel(batch_id: str) -> ResponseReturnValue:
        """Its jobs that have not ended are canceled; those that have stay as they are. May be repeated."""
        _own_batch(parts, batch_id)
        batches.cancel(parts.store, batch_id, by=f"key:{caller().key_id}", now=datetime.now(UTC))
        return _response(parts, batch_id)


def _own_batch(parts: Parts, batch_id: str) -> reads.BatchRow:
    """The caller's batch. Raises `NotFound`: another client's batch is one."""
    found = None
    if is_id("bat", batch_id):
        with parts.store.looking() as connection:
            found = reads.batch(connection, batch_id, caller().sees)
    if found is None:
        raise NotFound("There is no such batch.")
    return found


def _response(parts: Parts, batch_id: str, headers: dict[str, str] | None = None) -> Response:
    response = json_response(show.batch(_own_batch(parts, batch_id), addresses(parts)), 200, headers)
    response.add_etag()
    response.headers["Cache-Control"] = "private, no-cache"
    return response
