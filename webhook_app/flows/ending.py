"""Ends of jobs that are acts of ours: the provider said nothing. Nothing here commits; the act that calls does."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from webhook_app.domain.errors import JobError
from webhook_app.domain.events import Event, EventType
from webhook_app.domain.job import Status
from webhook_app.flows import tally
from webhook_app.store import events, jobs, slots

IDLE = {
    "lease_owner": None,
    "lease_until": None,
    "unconfirmed_since": None,
    "waiting_for": None,
    "due_at": None,
    "overdue_at": None,
}
EVENT_OF = {Status.FAILED: EventType.JOB_FAILED, Status.TIMED_OUT: EventType.JOB_TIMED_OUT}


def end(
    connection: Connection, job: dict[str, Any], status: Status, error: JobError, *, by: str, now: datetime
) -> None:
    """End a locked, unfinished job; its slot comes free. `by` is the event's actor."""
    ended = {"status": status.value, "completed_at": now, "error": error.as_json()}
    jobs.save(connection, [job | IDLE | ended])
    slots.release(connection, [job["track_id"]])
    told = Event(EVENT_OF[status], by, now, job["track_id"], job["client_id"], job["batch_id"])
    told.data.update(attempt=job["attempt"], code=error.code.value)
    completed = tally.completed(connection, tally.end_of(job, status), by=by, now=now)
    events.append(connection, [told, *completed])


def cancel(connection: Connection, unfinished: Sequence[dict[str, Any]], *, by: str, now: datetime) -> None:
    """Stop waiting for locked, unfinished jobs. The provider cannot be stopped: each keeps its slot until it says that
    it is done, or the slot's time is over."""
    jobs.save(connection, [job | IDLE | {"status": Status.CANCELED.value, "completed_at": now} for job in unfinished])
    told = []
    for job in unfinished:
        event = Event(EventType.JOB_CANCELED, by, now, job["track_id"], job["client_id"], job["batch_id"])
        event.data.update(attempt=job["attempt"], was=job["status"])
        told.append(event)
    ends = [end for job in unfinished for end in tally.end_of(job, Status.CANCELED)]
    events.append(connection, [*told, *tally.completed(connection, ends, by=by, now=now)])
