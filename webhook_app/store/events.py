"""The append-only log: rows go in without a number; the sealer numbers them later. Waiters are woken by the commit."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Integer, Text, bindparam, case, func, select

from webhook_app.domain.counting import ENDS_TOLD, MEASURED, late_ones
from webhook_app.domain.events import Event, EventType
from webhook_app.domain.ids import new_id
from webhook_app.domain.outcome import Witness
from webhook_app.store import counters
from webhook_app.store.bulk import AddMany, SaveMany, Statement, Together, table_of
from webhook_app.store.tables import EventRow

CHANNEL = "webhook_app"
IDS_IN_A_NOTIFICATION = 100  # PostgreSQL refuses the whole transaction when a payload reaches 8,000 bytes.
EVENTS = table_of(EventRow)
ADD = AddMany(EVENTS, columns=["event_id", "type", "track_id", "client_id", "batch_id", "actor", "data", "created_at"])
NOTIFY = select(func.pg_notify(CHANNEL, bindparam("payload", type_=Text())))
HEAD = select(func.max(EVENTS.c.seq))
HISTORIES = Statement(
    lambda among: (
        select(EVENTS.c.track_id, EVENTS.c.position, EVENTS.c.type, EVENTS.c.data)
        .where(among(EVENTS.c.track_id), EVENTS.c.type.in_(sorted({*ENDS_TOLD, EventType.CALLBACK_RECEIVED})))
        .order_by(EVENTS.c.track_id, EVENTS.c.position)
    )
)
MEASURES = case((EVENTS.c.type.in_(sorted(MEASURED)), EVENTS.c.data)).label("data")
UNSEALED = (
    select(EVENTS.c.position, EVENTS.c.type, EVENTS.c.track_id, EVENTS.c.client_id, EVENTS.c.created_at, MEASURES)
    .where(EVENTS.c.seq.is_(None))
    .order_by(EVENTS.c.position)
    .limit(bindparam("most", type_=Integer()))
)
SEAL = SaveMany(EVENTS, key=["position"], columns=["seq"], found=[EVENTS.c.seq.is_(None)])
SEAL_AND_COUNT = Together(SEAL, counters.ADD_UP)
SEALER_LOCK = 0x57_41_50_50  # Any constant: all sealers of an installation agree on it.


def append(connection: Connection, events: Sequence[Event]) -> None:
    """Write events in the transaction of the change that they tell, and wake whoever waits for their jobs."""
    if not events:
        return
    ADD.execute(connection, [row_of(event) for event in events])
    notify(connection, {event.track_id for event in events if event.track_id})


def notify(connection: Connection, track_ids: Iterable[str]) -> None:
    """A hint that these jobs changed, delivered by the commit. SQLite has none: there the log's tail is watched."""
    if connection.dialect.name != "postgresql":
        return
    ids = sorted(track_ids)
    for start in range(0, len(ids), IDS_IN_A_NOTIFICATION):
        payload = ",".join(ids[start : start + IDS_IN_A_NOTIFICATION])
        connection.execute(NOTIFY, {"payload": payload})


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


def may_seal(connection: Connection) -> bool:
    """Become the only sealer until the transaction ends; False when another one is at work."""
    if connection.dialect.name != "postgresql":
        return True  # The write lock is ours already.
    return bool(connection.scalar(select(func.pg_try_advisory_xact_lock(SEALER_LOCK))))


def seal(connection: Connection, *, limit: int) -> int:
    """Give the next numbers to the oldest committed events that have none, and count them. Returns how many."""
    rows = connection.execute(UNSEALED, {"most": limit}).all()
    if rows:
        head = connection.scalar(HEAD) or 0
        numbers = [{"position": row.position, "seq": seq} for seq, row in enumerate(rows, start=head + 1)]
        SEAL_AND_COUNT.execute(connection, numbers, counters.folded(rows, late=_late(connection, rows)))
    return len(rows)


def _late(connection: Connection, rows: Sequence[Any]) -> set[int]:
    """Which of these are callbacks that came after a poll had told the end. Nearly all of a batch stand beside the end
    that they tell, and need no look at their job's history."""
    told = {row.track_id for row in rows if row.type in ENDS_TOLD and row.data.get("witness") == Witness.CALLBACK}
    unclear = {row.track_id for row in rows if row.type == EventType.CALLBACK_RECEIVED} - told
    histories: dict[str, list[tuple[int, str, dict[str, Any]]]] = {}
    if unclear:
        for row in HISTORIES.execute(connection, sorted(unclear)):
            histories.setdefault(row.track_id, []).append((row.position, row.type, row.data))
    return {position for history in histories.values() for position in late_ones(history)}
