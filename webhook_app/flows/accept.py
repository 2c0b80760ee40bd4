"""Taking a job: the row first, the world after. One transaction writes the job, its pictures' rows, the first event and
the idempotency key."""

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row

from webhook_app.domain.errors import DatabaseBusy, Erased, IdempotencyMismatch, ProblemError, RateLimited
from webhook_app.domain.events import Event, EventType
from webhook_app.domain.ids import new_track_id
from webhook_app.domain.job import ArchiveStatus, Status, WaitingFor
from webhook_app.flows.room import QueueRoom
from webhook_app.store import changes, idempotency, images, jobs, reads, slots
from webhook_app.store.engine import Store

QUEUE_FULL = "Too many of your jobs are waiting to be sent."
KEY_USED = "This Idempotency-Key was used with another body before."
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


@dataclass(frozen=True, slots=True, eq=False)
class Submission:
    """One request of a client, by one of its keys, and the address that its job would have."""

    request: JobRequest
    client_id: str
    key_id: str
    idempotency_key: Idempotency | None
    location_for: Callable[[str], str]
    asked_at: datetime


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
    asked = Submission(request, client_id, key_id, idempotency_key, location_for, now)
    (answer,) = accept_all(store, [asked], room=room)
    if isinstance(answer, ProblemError):
        raise answer
    return answer


def accept_all(store: Store, asked: Sequence[Submission], *, room: QueueRoom) -> list[Accepted | ProblemError]:
    """Commit many jobs in one transaction, and answer each as `accept` does, in order; no two may share a key. Raises
    where nothing was committed; where it was more than one, the caller may go one by one then."""
    # A key that was taken between our look and our claim has been committed with its job: that is seen now.
    answers = _accept_all(store, asked, room) or _accept_all(store, asked, room)
    if answers is None:
        raise DatabaseBusy("Another request takes the same Idempotency-Key.", retry_after_s=1)
    return answers


def _accept_all(store: Store, asked: Sequence[Submission], room: QueueRoom) -> list[Accepted | ProblemError] | None:
    """None, and nothing is committed, when a key was taken since it was looked at."""
    with store.writing() as connection:
        answers = _known(connection, asked)
        taken: Counter[str] = Counter()
        for place, each in enumerate(asked):
            if place not in answers and (refused := _refused(connection, each, room, taken)) is not None:
                answers[place] = refused
        places = [place for place in range(len(asked)) if place not in answers]
        fresh = [(asked[place], new_track_id()) for place in places]
        if not _claimed(connection, fresh):
            connection.rollback()
            return None
        answers |= zip(places, _write(connection, fresh), strict=True)
    return [answers[place] for place in range(len(asked))]


def _known(connection: Connection, asked: Sequence[Submission]) -> dict[int, Accepted | ProblemError]:
    """The answers, by their places, to what was asked with a key that was used before."""
    places: dict[str, dict[str, int]] = {}
    for place, each in enumerate(asked):
        if each.idempotency_key is not None:
            places.setdefault(each.client_id, {})[each.idempotency_key.key] = place
    answers: dict[int, Accepted | ProblemError] = {}
    for client_id, of_keys in places.items():
        for key, row in idempotency.find(connection, client_id, of_keys.keys()).items():
            place = of_keys[key]
            answers[place] = _replay(connection, asked[place].idempotency_key, row)
    return answers


def _replay(connection: Connection, key: Idempotency | None, row: Row[Any]) -> Accepted | ProblemError:
    if (refused := refusal(key, row, erased=JOB_ERASED)) is not None:
        return refused
    job = jobs.get(connection, row.track_id)
    if job is None or job.erased_at is not None:
        return Erased(JOB_ERASED)
    return Accepted(row.track_id, True, row.status_code, row.location)


def refusal(key: Idempotency | None, row: Row[Any], *, erased: str) -> ProblemError | None:
    """Why a request cannot be answered by what its key made: it has been `erased`, or was asked for otherwise."""
    if not row.request_sha256:
        return Erased(erased)
    if key is None or row.request_sha256 != key.request_sha256:
        return IdempotencyMismatch(KEY_USED)
    return None


def _refused(connection: Connection, asked: Submission, room: QueueRoom, taken: Counter[str]) -> RateLimited | None:
    """Take a place in the client's queue; `taken` counts those of this transaction."""
    if room.take(connection, asked.client_id, taken=taken[asked.client_id]):
        taken[asked.client_id] += 1
        return None
    wait_s = room_after(connection, asked.request.provider, asked.client_id, asked.asked_at)
    return RateLimited(QUEUE_FULL, retry_after_s=wait_s)


def _claimed(connection: Connection, fresh: Sequence[tuple[Submission, str]]) -> bool:
    """Claim the keys of what makes a job; False when one was taken since they were looked at."""
    rows = [
        {
            "client_id": each.client_id,
            "key": each.idempotency_key.key,
            "request_sha256": each.idempotency_key.request_sha256,
            "track_id": track_id,
            "status_code": 202,
            "location": each.location_for(track_id),
            "created_at": each.asked_at,
        }
        for each, track_id in fresh
        if each.idempotency_key is not None
    ]
    return not rows or idempotency.claim(connection, rows)


def _write(connection: Connection, fresh: Sequence[tuple[Submission, str]]) -> list[Accepted]:
    if not fresh:
        return []
    values = [
        new_job(each.request, track_id, client_id=each.client_id, key_id=each.key_id, now=each.asked_at)
        for each, track_id in fresh
    ]
    added = jobs.add(connection, values)
    pictures = [images.new(job["track_id"], job["samples"]) for job in added]
    told = [queued(job, job["created_at"]) for job in added]
    changes.add(connection, new_images=[image for own in pictures for image in own], told=told)
    return [
        Accepted(track_id, False, 202, each.location_for(track_id), job, own)
        for (each, track_id), job, own in zip(fresh, added, pictures, strict=True)
    ]


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
