"""The append-only log: rows go in without a number, and `log` seals them later. Waiters are woken by the commit."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Text, bindparam, func, select

from webhook_app.domain.events import Event, EventType
from webhook_app.domain.ids import new_id
from webhook_app.store.bulk import AddMany, table_of
from webhook_app.store.tables import EventRow

CHANNEL = "webhook_app"
IDS_IN_A_NOTIFICATION = 100  # PostgreSQL refuses the whole transaction when a payload reaches 8,000 bytes.
EVENTS = table_of(EventRow)
ADD = AddMany(EVENTS, columns=["event_id", "type", "track_id", "client_id", "batch_id", "actor", "data", "created_at"])
NOTIFIED = func.pg_notify(CHANNEL, bindparam("payload", type_=Text()))
SETTLED = (EventType.JOB_ARCHIVED, EventType.JOB_ARCHIVE_FAILED)
NOTIFY = select(NOTIFIED)


def append(connection: Connection, events: Sequence[Event]) -> None:
    """Write events in the transaction of the change that they tell, and wake whoever waits for their jobs."""
    if not events:
        return
    ADD.execute(connection, [row_of(event) for event in events])
    notify(connection, subjects(events))


def subjects(events: Iterable[Event]) -> list[str]:
    """What these events are about, as whoever waits for it knows it, in order: jobs, and whole batches."""
    return sorted({about for event in events if (about := event.track_id or event.batch_id)})


def notify(connection: Connection, ids: Iterable[str]) -> None:
    """A hint that these jobs or batches changed, or something else where there are none, delivered by the commit.
    SQLite has none: there the log's tail is watched."""
    if connection.dialect.name != "postgresql":
        return
    told = sorted(ids)
    starts = range(0, max(len(told), 1), IDS_IN_A_NOTIFICATION)
    payloads = [{"payload": ",".join(told[start : start + IDS_IN_A_NOTIFICATION])} for start in starts]
    connection.execute(NOTIFY, payloads if len(payloads) > 1 else payloads[0])


def bytes_told(connection: Connection, track_id: str) -> int:
    """How many bytes of a locked job's pictures its events have told of so far: its archive may settle again."""
    told = select(EVENTS.c.data).where(EVENTS.c.track_id == track_id, EVENTS.c.type.in_(SETTLED))
    rows = connection.scalars(told.order_by(EVENTS.c.position))
    return sum(data.get("bytes_added", data.get("bytes", 0)) for data in rows)


def row_of(event: Event) -> dict[str, Any]:
    """An event as a new row of the log."""
    return {
        "event_id": new_id("evt"),
        "type": event.type.value,
        "track_id": event.track_id,
        "client_id": event.client_id,
        "batch_id": event.batch_id,
        "actor": event.actor,
        "data": event.data,
        "created_at": event.created_at,
    }
