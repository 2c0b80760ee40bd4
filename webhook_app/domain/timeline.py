"""What an event of the log says, in words for people. Pure; the words hold nothing that the event does not."""

from collections.abc import Callable, Mapping
from typing import Any

from webhook_app.domain.events import EventType

Data = Mapping[str, Any]


def _attempt(data: Data) -> str:
    return f"attempt {data['attempt']}" if data.get("attempt") is not None else "an attempt"


def _told(data: Data) -> str:
    by = {"submit": "by the submit's answer", "callback": "by its callback", "poll": "when it was asked"}
    return by.get(str(data.get("witness")), "somehow")


def _succeeded(data: Data) -> str:
    late = f", after it had {data['previous_status'].replace('_', ' ')}" if data.get("previous_status") else ""
    return f"succeeded with {data.get('images', '?')} pictures: {_attempt(data)}, told {_told(data)}{late}"


def _failed(data: Data) -> str:
    how = f", told {_told(data)}" if data.get("witness") else ""
    return f"failed: {data.get('code', 'unknown')}{how}"


def _retried(data: Data) -> str:
    why = {"unconfirmed": "nobody confirmed it", "not_sent": "it was not sent", "declined": "there was no room for it"}
    after = f", in {data['retry_in_s']} s" if data.get("retry_in_s") is not None else ""
    return f"{_attempt(data)} goes out again{after}: {why.get(str(data.get('evidence')), 'the provider failed it')}"


WORDS: Mapping[str, Callable[[Data], str]] = {
    EventType.JOB_QUEUED: lambda data: f"taken in as number {data.get('number', '?')}",
    EventType.JOB_SUBMITTED: lambda data: f"{_attempt(data)} sent to the provider",
    EventType.JOB_OVERDUE: lambda data: "in the queue for longer than its timeout_s, never sent",
    EventType.JOB_SUCCEEDED: _succeeded,
    EventType.JOB_FAILED: _failed,
    EventType.JOB_CANCELED: lambda data: f"canceled while it was {data.get('was', 'running')}",
    EventType.JOB_TIMED_OUT: lambda data: "timed out",
    EventType.JOB_ARCHIVED: lambda data: "all pictures archived",
    EventType.JOB_ARCHIVE_FAILED: lambda data: f"the archive is {data.get('archive_status', 'lost')}",
    EventType.IMAGE_FLAGGED: lambda data: f"picture {data.get('image_id', '?')} flagged as {data.get('flag', '?')}",
    EventType.IMAGE_HOST_REFUSED: lambda data: f"nobody vouches for the host of picture {data.get('image_id', '?')}",
    EventType.IMAGE_AT_RISK: lambda data: f"picture {data.get('image_id', '?')} is about to be gone at the provider",
    EventType.CALLBACK_RECEIVED: lambda data: f"a callback for {_attempt(data)}: {data.get('verdict', '?')}",
    EventType.CALLBACK_IGNORED: lambda data: f"a callback for {_attempt(data)}, ignored: {data.get('verdict', '?')}",
    EventType.CALLBACK_ORPHANED: lambda data: f"a callback for {_attempt(data)}, which was not known",
    EventType.SUBMIT_RETRIED: _retried,
    EventType.SUBMIT_UNCONFIRMED: lambda data: f"nobody knows whether the provider has {_attempt(data)}",
}


def words(kind: str, data: Data) -> str:
    """What happened; the event's own name where there are no words for it."""
    make = WORDS.get(kind)
    return kind if make is None else make(data)
