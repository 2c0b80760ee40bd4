"""Batches: many jobs taken in by one transaction, counted as they end, told of once when all have, and stopped
together. Locks: the jobs by track_id first, then their batches by id."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from webhook_app.domain.errors import Erased, NotFound, RateLimited
from webhook_app.domain.ids import new_id, new_track_id
from webhook_app.domain.job import TERMINAL
from webhook_app.flows import ending
from webhook_app.flows.accept import QUEUE_FULL, Idempotency, JobRequest, new_job, queued, refusal, room_after
from webhook_app.flows.room import QueueRoom
from webhook_app.store import batches, changes, idempotency, images, jobs
from webhook_app.store.engine import Store

BATCH_ERASED = "The jobs of the batch that this Idempotency-Key made have been erased."


@dataclass(frozen=True, slots=True)
class AcceptedBatch:
    """The batch that answers the request: a new one, or with `replayed` the one that the same key made before.
    `track_ids` are in the order of the requests."""

    batch_id: str
    track_ids: list[str]
    replayed: bool
    location: str


def accept(
    store: Store,
    requests: Sequence[JobRequest],
    *,
    client_id: str,
    key_id: str,
    idempotency_key: Idempotency | None = None,
    location_for: Callable[[str], str],
    room: QueueRoom,
    now: datetime,
) -> AcceptedBatch:
    """Commit a batch with all its jobs, or nothing. Raises as `accept.accept` does; repeated with the same key it makes
    nothing and answers as before."""
    batch_id = new_id("bat")
    with store.writing() as connection:
        if idempotency_key is not None:
            made = _made(connection, idempotency_key, client_id)
            if made is None and not _claim(
                connection, idempotency_key, batch_id, location_for(batch_id), client_id, now
            ):
                made = _made(connection, idempotency_key, client_id)  # By who was first, and has committed by now.
            if made is not None:
                return _replay(connection, idempotency_key, made)
        if not room.take(connection, client_id, places=len(requests)):
            wait_s = room_after(connection, requests[0].provider, client_id, now, places=len(requests))
            raise RateLimited(QUEUE_FULL, retry_after_s=wait_s)
        track_ids = _write(connection, requests, batch_id, client_id, key_id, now)
    return AcceptedBatch(batch_id, track_ids, False, location_for(batch_id))


def _claim(
    connection: Connection, key: Idempotency, batch_id: str, location: str, client_id: str, now: datetime
) -> bool:
    values = {
        "client_id": client_id,
        "key": key.key,
        "request_sha256": key.request_sha256,
        "batch_id": batch_id,
        "status_code": 202,
        "location": location,
        "created_at": now,
    }
    return idempotency.claim(connection, [values])


def _made(connection: Connection, key: Idempotency, client_id: str) -> Row[Any] | None:
    return idempotency.find(connection, client_id, [key.key]).get(key.key)


def _replay(connection: Connection, key: Idempotency, row: Row[Any]) -> AcceptedBatch:
    if (refused := refusal(key, row, erased=BATCH_ERASED)) is not None:
        raise refused
    if batches.is_erased(connection, row.batch_id):
        raise Erased(BATCH_ERASED)
    return AcceptedBatch(row.batch_id, batches.track_ids(connection, row.batch_id), True, row.location)


def _write(
    connection: Connection, requests: Sequence[JobRequest], batch_id: str, client_id: str, key_id: str, now: datetime
) -> list[str]:
    made = {"batch_id": batch_id, "client_id": client_id, "created_by": key_id}
    batches.add(connection, made | {"jobs": len(requests), "created_at": now})
    asked = [new_job(each, new_track_id(), client_id=client_id, key_id=key_id, now=now) for each in requests]
    added = jobs.add(connection, [job | {"batch_id": batch_id} for job in asked])
    pictures = [image for job in added for image in images.new(job["track_id"], job["samples"])]
    changes.add(connection, new_images=pictures, told=[queued(job, now) for job in added])
    return [job["track_id"] for job in added]


def cancel(store: Store, batch_id: str, *, by: str, now: datetime) -> int:
    """End the batch's unfinished jobs as canceled, in one transaction; the others stay as they ended. Returns how many:
    again it changes nothing. Raises `NotFound`."""
    with store.writing() as connection:
        if not batches.is_known(connection, batch_id):
            raise NotFound("There is no such batch.")
        locked = jobs.lock(connection, batches.unfinished_jobs(connection, batch_id))
        left = [dict(row._mapping) for row in locked.values() if row.status not in TERMINAL]
        ending.cancel(connection, left, by=by, now=now)
        return len(left)
