"""The append-only log: rows go in without a number; the sealer numbers them later. Waiters are woken by the commit."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from webhook_app.domain.events import Event
from webhook_app.domain.ids import new_id
from webhook_app.store.tables import EventRow

CHANNEL = "webhook_app"
IDS_IN_A_NOTIFICATION = 100  # PostgreSQL refuses the whole transaction when a payload reaches 8,000 bytes.
SEALER_LOCK = 0x57_41_50_50  # Any constant: all sealers of an installation agree on it.


def append(connection: Connection, events: Sequence[Event]) -> None:
    """Write events in the transaction of the change that they tell, and wake whoever waits for their jobs."""
    if not events:
        return
    connection.execute(insert(EventRow), [_row(event) for event in events])
    notify(connection, {event.track_id for event in events if event.track_id})


def notify(connection: Connection, track_ids: Iterable[str]) -> None:
    """A hint that these jobs changed, delivered by the commit. SQLite has none: there the log's tail is watched."""
    if connection.dialect.name != "postgresql":
        return
    ids = sorted(track_ids)
    for start in range(0, len(ids), IDS_IN_A_NOTIFICATION):
        payload = ",".join(ids[start : start + IDS_IN_A_NOTIFICATION])
        connection.execute(select(func.pg_notify(CHANNEL, payload)))


def _row(event: Event) -> dict[str, Any]:
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


def may_seal(connection: Connection) -> bool:
    """Become the only sealer until the transaction ends; False when another one is at work."""
    if connection.dialect.name != "postgresql":
        return True  # The write lock is ours already.
    return bool(connection.scalar(select(func.pg_try_advisory_xact_lock(SEALER_LOCK))))


def seal(connection: Connection, *, limit: int) -> int:
    """Give the next numbers to the oldest committed events that have none. Returns how many."""
    head = connection.scalar(select(func.coalesce(func.max(EventRow.seq), 0)))
    unsealed = select(EventRow.position).where(EventRow.seq.is_(None)).order_by(EventRow.position).limit(limit)
    positions = connection.scalars(unsealed).all()
    if positions:
        numbered = [{"at": at, "number": number} for number, at in enumerate(positions, start=(head or 0) + 1)]
        statement = update(EventRow).where(EventRow.position == bindparam("at"), EventRow.seq.is_(None))
        connection.execute(statement.values(seq=bindparam("number")), numbered)
    return len(positions)
