"""Ends of jobs that are acts of ours: the provider said nothing. Nothing here commits; the act that calls does."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from webhook_app.domain.errors import JobError
from webhook_app.domain.events import Event, EventType
from webhook_app.domain.job import Status
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
    events.append(connection, [told])


def cancel(connection: Connection, job: dict[str, Any], *, by: str, now: datetime) -> None:
    """Stop waiting for a locked, unfinished job. The provider cannot be stopped: it keeps its slot until it says that
    it is done, or the slot's time is over."""
    jobs.save(connection, [job | IDLE | {"status": Status.CANCELED.value, "completed_at": now}])
    told = Event(EventType.JOB_CANCELED, by, now, job["track_id"], job["client_id"], job["batch_id"])
    told.data.update(attempt=job["attempt"], was=job["status"])
    events.append(connection, [told])
