"""What an event adds to the counters, beside one to the counter of its own type.

`callback.recovered` counts ends that a poll told before any callback did. `callback.lost` counts those, and time-outs:
the attempt ended and no callback had told how. Where the provider is given no webhook at all, every end is one.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from webhook_app.domain.durations import cell_of
from webhook_app.domain.events import EventType
from webhook_app.domain.outcome import Witness

RECOVERED = "callback.recovered"
LOST = "callback.lost"
BYTES_ARCHIVED = "bytes_archived"
# These are counted with numbers or words of their data.
MEASURED = frozenset(
    {
        EventType.JOB_SUBMITTED,
        EventType.JOB_SUCCEEDED,
        EventType.JOB_FAILED,
        EventType.JOB_ARCHIVED,
        EventType.JOB_ARCHIVE_FAILED,
    }
)
ENDS_TOLD = frozenset({EventType.JOB_SUCCEEDED, EventType.JOB_FAILED})


class Duration(StrEnum):
    """Names of counters with a cell for each duration, and of the members of an event's data that tell it: from being
    accepted to the first submit, from there to the success, and from there to the last picture's copy."""

    QUEUE = "queue_s"
    GENERATION = "generation_s"
    ARCHIVE = "archive_s"


DURATIONS = frozenset(name.value for name in Duration)


def undone(status: str) -> str:
    """The counter of ends of this status that a later success undid."""
    return f"undone.{status}"


def counted(kind: str, data: Mapping[str, Any] | None) -> Iterator[tuple[str, int, int]]:
    """(name, cell, amount) of everything that an event adds; the cell is 0 for what has none. `data` may be None where
    the type is not `MEASURED`."""
    yield kind, 0, 1
    if kind == EventType.JOB_TIMED_OUT:
        yield LOST, 0, 1
    if not data:
        return
    for name in Duration:
        if data.get(name) is not None:
            yield name.value, cell_of(data[name]), 1
    if kind in ENDS_TOLD and data.get("witness") == Witness.POLL:
        yield RECOVERED, 0, 1
        yield LOST, 0, 1
    if data.get("previous_status"):
        yield undone(data["previous_status"]), 0, 1
    if data.get("bytes"):
        yield BYTES_ARCHIVED, 0, data["bytes"]
