"""Taking a job: the row first, the world after. One transaction writes the job, its pictures' rows, the first event and
the idempotency key."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from webhook_app.domain.errors import Erased, RateLimited
from webhook_app.domain.events import Event, EventType
from webhook_app.domain.ids import new_track_id
from webhook_app.domain.job import ArchiveStatus, Status, WaitingFor
from webhook_app.flows.room import QueueRoom
from webhook_app.store import changes, idempotency, images, jobs, reads, slots
from webhook_app.store.engine import Store

QUEUE_FULL = "Too many of your jobs are waiting to be sent."
JOB_ERASED = "The job that this Idempotency-Key made has been erased."
LARGEST_SEED = 2**32 - 1
# How far back the pace of a client's queue is looked at, and what is told where nothing has left it.
PACE_SEEN_FOR = timedelta(minutes=10)
NO_PACE_S = 60
LONGEST_RETRY_S = 3600
_random = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A valid request. `input` is normalised; a null or missing `seed` in it is drawn here."""

    provider: str
    model: str
    input: dict[str, Any]
    timeout_s: int
    reference: str | None = None
    webhook: str | None = None
    webhook_events: list[str] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    priority: int = 0
    parent_track_id: str | None = None


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A client's `Idempotency-Key` and the SHA-256 (hex) of what was asked with it."""

    key: str
    request_sha256: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The job that answers the request: a new one, or with `replayed` the one that the same key made before. A new one
    comes with its row and those of its pictures, as they were committed."""

    track_id: str
    replayed: bool
    status_code: int
    location: str
    job: dict[str, Any] | None = None
    images: list[dict[str, Any]] = field(default_factory=list)


def accept(
    store: Store,
    request: JobRequest,
    *,
    client_id: str,
    key_id: str,
    idempotency_key: Idempotency | None = None,
    location_for: Callable[[str], str],
    room: QueueRoom,
    now: datetime,
) -> Accepted:
    """Commit a job. Raises `IdempotencyMismatch`, `IdempotencyInProgress`, `Erased` and `RateLimited` (the client
    has no `room` for unsent jobs); repeated with the same key it makes nothing and answers as before."""
    track_id = new_track_id()
    accepted = Accepted(track_id, False, 202, location_for(track_id))
    with store.writing() as connection:
        if idempotency_key is not None:
            if not _claim(connection, idempotency_key, accepted, client_id, now):
                return _replay(connection, idempotency_key, client_id)
            if idempotency.is_erased(connection, client_id, idempotency_key.key):
                raise Erased(JOB_ERASED)
        if not room.take(connection, client_id):
            wait_s = room_after(connection, request.provider, client_id, now)
            raise RateLimited(QUEUE_FULL, retry_after_s=wait_s)
        job, pictures = _write(connection, request, track_id, client_id, key_id, now)
    return replace(accepted, job=job, images=pictures)


def room_after(connection: Connection, provider: str, client_id: str, now: datetime, *, places: int = 1) -> int:
    """In how many seconds so many of a client's jobs should leave the queue: by the pace of late, after the provider's
    pause."""
    state = slots.state(connection, provider)
    paused = state is not None and state.paused_at is not None
    if state is not None and paused and state.paused_until is None:
        return LONGEST_RETRY_S
    pause = max(state.paused_until - now, timedelta()) if state is not None and paused else timedelta()
    sent = EventType.JOB_SUBMITTED.value
    begins_at = reads.window_begins_at(now - PACE_SEEN_FOR, now=now)
    left = reads.totals(connection, begins_at=begins_at, client_id=client_id, name=sent).sums[sent]
    each_s = PACE_SEEN_FOR.total_seconds() / left if left else NO_PACE_S
    return min(math.ceil(pause.total_seconds() + places * each_s), LONGEST_RETRY_S)


def remember_status(store: Store, *, client_id: str, key: str, status_code: int) -> None:
    """Keep the status of the first answer where a wait decided it, for replays."""
    with store.writing() as connection:
        idempotency.set_status_code(connection, client_id, key, status_code)


def _claim(connection: Connection, key: Idempotency, accepted: Accepted, client_id: str, now: datetime) -> bool:
    values = {
        "client_id": client_id,
        "key": key.key,
        "request_sha256": key.request_sha256,
        "track_id": accepted.track_id,
        "status_code": accepted.status_code,
        "location": accepted.location,
        "created_at": now,
    }
    return idempotency.claim(connection, values)


def _replay(connection: Connection, key: Idempotency, client_id: str) -> Accepted:
    row = idempotency.used(connection, client_id, key.key, key.request_sha256)
    job = jobs.get(connection, row.track_id)
    if job is None or job.erased_at is not None:
        raise Erased(JOB_ERASED)
    return Accepted(row.track_id, True, row.status_code, row.location)


def _write(
    connection: Connection, request: JobRequest, track_id: str, client_id: str, key_id: str, now: datetime
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    values = new_job(request, track_id, client_id=client_id, key_id=key_id, now=now)
    job, pictures = jobs.add(connection, values), images.new(track_id, values["samples"])
    changes.add(connection, new_images=pictures, told=[queued(job, now)])
    return job, pictures


def new_job(request: JobRequest, track_id: str, *, client_id: str, key_id: str, now: datetime) -> dict[str, Any]:
    """The row of a job that is asked for, without its number."""
    seed = request.input.get("seed")
    seed = _random.randint(0, LARGEST_SEED) if seed is None else seed
    return {
        "track_id": track_id,
        "client_id": client_id,
        "created_by": key_id,
        "provider": request.provider,
        "model": request.model,
        "input": request.input | {"seed": seed},
        "seed": seed,
        "samples": request.input.get("samples", 1),
        "reference": request.reference,
        "webhook": request.webhook,
        "webhook_events": request.webhook_events,
        "metadata": request.metadata,
        "tags": list(request.tags),
        "priority": request.priority,
        "timeout_s": request.timeout_s,
        "parent_track_id": request.parent_track_id,
        "status": Status.QUEUED.value,
        "waiting_for": WaitingFor.PROVIDER_SLOT.value,
        "provider_meta": {},
        "archive_status": ArchiveStatus.NONE.value,
        "flags": [],
        "created_at": now,
        "due_at": now,
        "overdue_at": now + timedelta(seconds=request.timeout_s),
    }


def queued(job: dict[str, Any], now: datetime) -> Event:
    """The event that tells of a new job's row."""
    data = {"number": job["number"], "samples": job["samples"]}
    by = f"key:{job['created_by']}"
    return Event(EventType.JOB_QUEUED, by, now, job["track_id"], job["client_id"], job["batch_id"], data)
