"""What an event adds to the counters, beside one to the counter of its own type.

A callback is missed when a job ends and none has told how: by a poll (then the loss is recovered), or by its time-out.
One that comes after all is late. Lost are those that were missed and have not come late; where the provider is given no
webhook at all, that is every end.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any

from webhook_app.domain.durations import cell_of
from webhook_app.domain.events import EventType
from webhook_app.domain.job import Status
from webhook_app.domain.outcome import Witness

RECOVERED = "callback.recovered"
MISSED = "callback.missed"
LATE = "callback.late"
BYTES_ARCHIVED = "bytes_archived"
# A callback on record that was read again: it came once, and is counted as it came.
REPLAYED = "callback.replayed"
# These are counted with numbers or words of their data.
MEASURED = frozenset(
    {
        EventType.JOB_SUBMITTED,
        EventType.JOB_SUCCEEDED,
        EventType.JOB_FAILED,
        EventType.JOB_ARCHIVED,
        EventType.JOB_ARCHIVE_FAILED,
        EventType.CALLBACK_RECEIVED,
        EventType.CALLBACK_IGNORED,
        EventType.CALLBACK_ORPHANED,
    }
)
ENDS_TOLD = frozenset({EventType.JOB_SUCCEEDED, EventType.JOB_FAILED})


class Duration(StrEnum):
    """Names of counters with a cell for each duration, and of the members of an event's data that tell it: from being
    accepted to the first submit, from the submit that made it to the success, and from there to the last picture's
    copy. Waiting for evidence is no generating: it would lengthen the next wait, which is made from this."""

    QUEUE = "queue_s"
    GENERATION = "generation_s"
    ARCHIVE = "archive_s"


DURATIONS = frozenset(name.value for name in Duration)
TOOK = "took_s."  # Begins the names of counters with the durations of one kind of work each.


def undone(status: str) -> str:
    """The counter of ends of this status that a later success undid."""
    return f"undone.{status}"


def counted(kind: str, data: Mapping[str, Any] | None) -> Iterator[tuple[str, int, int]]:
    """(name, cell, amount) of everything that an event adds; the cell is 0 for what has none. `data` may be None where
    the type is not `MEASURED`."""
    yield REPLAYED if data and data.get("replayed") else kind, 0, 1
    if kind == EventType.JOB_TIMED_OUT:
        yield MISSED, 0, 1
    if not data:
        return
    if kind == EventType.JOB_SUCCEEDED and data.get("kind") and data.get("witness") != Witness.POLL:
        yield TOOK + data["kind"], cell_of(data[Duration.GENERATION]), 1
    for name in Duration:
        if data.get(name) is not None:
            yield name.value, cell_of(data[name]), 1
    if kind in ENDS_TOLD:
        yield from ((name, 0, 1) for name in _of_callbacks(data))
    if data.get("previous_status"):
        yield undone(data["previous_status"]), 0, 1
    # Of an archive that settles again, those that have not been told before.
    if added := data.get("bytes_added", data.get("bytes")):
        yield BYTES_ARCHIVED, 0, added


def _of_callbacks(end: Mapping[str, Any]) -> Iterator[str]:
    was_missed = end.get("previous_status") == Status.TIMED_OUT
    match end.get("witness"):
        case Witness.POLL:
            yield RECOVERED
            if not was_missed:
                yield MISSED
        case Witness.CALLBACK if was_missed:
            yield LATE


def late_ones(history: Iterable[tuple[Any, str, Mapping[str, Any]]]) -> Iterator[Any]:
    """Which of a job's events (key, type, data), in their order, are callbacks of an attempt whose end a poll had told:
    the first one after each such end."""
    awaited = None
    for key, kind, data in history:
        if kind in ENDS_TOLD:
            awaited = data.get("attempt") if data.get("witness") == Witness.POLL else None
        elif kind == EventType.CALLBACK_RECEIVED and awaited is not None and data.get("attempt") == awaited:
            awaited = None
            yield key


def lost(sums: Mapping[str, int]) -> int:
    """Callbacks that were missed and have not come."""
    return max(sums.get(MISSED, 0) - sums.get(LATE, 0), 0)
