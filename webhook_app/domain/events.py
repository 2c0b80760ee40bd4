"""The types of the append-only log. An event's data holds ids, digests, enums and numbers, never content, so that
erasing a job never touches the log."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class EventType(StrEnum):
    JOB_QUEUED = "job.queued"
    JOB_SUBMITTED = "job.submitted"
    JOB_OVERDUE = "job.overdue"
    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELED = "job.canceled"
    JOB_TIMED_OUT = "job.timed_out"
    JOB_ARCHIVED = "job.archived"
    JOB_ARCHIVE_FAILED = "job.archive_failed"
    JOB_ERASED = "job.erased"
    IMAGE_FLAGGED = "image.flagged"
    IMAGE_HOST_REFUSED = "image.host_refused"
    IMAGE_AT_RISK = "image.at_risk"
    CALLBACK_RECEIVED = "callback.received"
    CALLBACK_IGNORED = "callback.ignored"
    CALLBACK_ORPHANED = "callback.orphaned"
    PROVIDER_PAUSED = "provider.paused"
    PROVIDER_RESUMED = "provider.resumed"
    SUBMIT_RETRIED = "submit.retried"
    SUBMIT_UNCONFIRMED = "submit.unconfirmed"
    BATCH_COMPLETED = "batch.completed"
    ENDPOINT_DISABLED = "endpoint.disabled"


# What a client's webhook gets unless it chose otherwise.
WEBHOOK_DEFAULTS = (
    EventType.JOB_SUCCEEDED,
    EventType.JOB_FAILED,
    EventType.JOB_CANCELED,
    EventType.JOB_TIMED_OUT,
    EventType.JOB_ARCHIVED,
    EventType.JOB_ARCHIVE_FAILED,
    EventType.BATCH_COMPLETED,
)


@dataclass(frozen=True, slots=True)
class Event:
    """One entry on its way into the log. `actor` is `key:…`, `worker`, `provider`, `operator` or `retention`."""

    type: EventType
    actor: str
    created_at: datetime
    track_id: str | None = None
    client_id: str | None = None
    batch_id: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
