"""The sealed log: committed events get their gapless `seq` and their hash, once, in the order of the log. Nothing else
changes an event, and the database refuses what is not this."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Connection, Integer, Text, bindparam, func, literal_column, select

from webhook_app.domain.chain import GENESIS, HASHED, hash_of
from webhook_app.domain.counting import ENDS_TOLD, late_ones
from webhook_app.domain.errors import Unstorable
from webhook_app.domain.events import EventType
from webhook_app.domain.outcome import Witness
from webhook_app.store import counters
from webhook_app.store.bulk import SaveMany, Statement, Together, table_of
from webhook_app.store.lookup import Lookup
from webhook_app.store.tables import EventRow

FEED_CHANNEL = "webhook_app_feed"
EVENTS = table_of(EventRow)
NOTIFIED = func.pg_notify(FEED_CHANNEL, bindparam("feed_payload", type_=Text()))
TOLD = [EVENTS.c[name] for name in ("position", *HASHED) if name not in ("seq", "previous_hash")]
LAST = select(EVENTS.c.seq, EVENTS.c.hash).where(EVENTS.c.seq.is_not(None)).order_by(EVENTS.c.seq.desc()).limit(1)
LAST_NOW = LAST.subquery()
# A usual look begins behind the position of the event that was numbered this many before the last. While a transaction
# is open for long (a backup), PostgreSQL keeps every entry that the index of unsealed events ever had, and a look from
# its beginning reads them all. What was inserted before that and committed late is left to a thorough look.
LOOK_BACK = 5_000
EVERYTHING = 2**62  # No event stands so far back.
BEFORE = EVENTS.alias("before")
BEHIND = (
    select(BEFORE.c.position)
    .where(BEFORE.c.seq == select(LAST_NOW.c.seq).scalar_subquery() - bindparam("look_back", type_=BigInteger()))
    .scalar_subquery()
)
# With the log's end in each row: one snapshot, and one round trip.
UNSEALED = Lookup(
    select(
        *TOLD,
        select(LAST_NOW.c.seq).scalar_subquery().label("last_seq"),
        select(LAST_NOW.c.hash).scalar_subquery().label("last_hash"),
    )
    .where(EVENTS.c.seq.is_(None), EVENTS.c.position > func.coalesce(BEHIND, 0))
    .order_by(EVENTS.c.position)
    .limit(bindparam("most", type_=Integer()))
)
UNCHAINED = (
    select(*TOLD, EVENTS.c.seq)
    .where(EVENTS.c.seq.is_not(None), EVENTS.c.hash.is_(None))
    .order_by(EVENTS.c.seq)
    .limit(bindparam("most", type_=Integer()))
)
SEALED = select(*(EVENTS.c[name] for name in (*HASHED, "hash")))
HASH_AT = select(EVENTS.c.hash).where(EVENTS.c.seq == bindparam("seq"))
WRITTEN_AT = select(EVENTS.c.created_at).where(EVENTS.c.seq == bindparam("seq"))
HISTORIES = Statement(
    lambda among: (
        select(EVENTS.c.track_id, EVENTS.c.position, EVENTS.c.type, EVENTS.c.data)
        .where(among(EVENTS.c.track_id), EVENTS.c.type.in_(sorted({*ENDS_TOLD, EventType.CALLBACK_RECEIVED})))
        .order_by(EVENTS.c.track_id, EVENTS.c.position)
    )
)
# The plus keeps SQLite from the index of seq: it would look through all rows without one for each that is given.
UNNUMBERED = literal_column("+events.seq").is_(None)
SEAL = SaveMany(EVENTS, key=["position"], columns=["seq", "previous_hash", "hash"], found=[UNNUMBERED])
CHAIN = SaveMany(EVENTS, key=["position"], columns=["previous_hash", "hash"], found=[EVENTS.c.hash.is_(None)])
SEAL_AND_COUNT = Together(SEAL, counters.ADD_UP, called=[NOTIFIED])
COMMITTED_WITHIN = timedelta(minutes=10)
SEALER_LOCK = 0x57_41_50_50  # Any constant: all sealers of an installation agree on it.
TRY_TO_LOCK = Lookup(select(func.pg_try_advisory_xact_lock(literal_column(str(SEALER_LOCK))).label("is_mine")))


@dataclass(frozen=True, slots=True)
class SealedEvent:
    """An event with its place in the log."""

    position: int
    event_id: str
    seq: int
    type: str
    track_id: str | None
    client_id: str | None
    batch_id: str | None
    actor: str
    created_at: datetime
    data: dict[str, Any]
    previous_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class Unsealed:
    """The next events to seal, oldest first, and the log's end before them: 0 and `GENESIS` where it is empty.
    `last_hash` None: it was numbered by a release that did not chain."""

    last_seq: int
    last_hash: str | None
    rows: Sequence[Any]


def may_seal(connection: Connection) -> bool:
    """Become the only sealer until the transaction ends; False when another one is at work."""
    if connection.dialect.name != "postgresql":
        return True  # The write lock is ours already.
    [row] = TRY_TO_LOCK.within(connection, {})
    return bool(row.is_mine)


def wait_for_sealer(connection: Connection) -> None:
    """Let the sealer that is at work finish: whoever seals afterwards sees what is committed by now. On SQLite nobody
    else is at work."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock_shared(SEALER_LOCK)))


def numbers_since(connection: Connection, since: datetime) -> tuple[int, int]:
    """The number after which all sealed events lie that were written since then, and the last number given. Numbers
    follow time, but for what was committed late: hence some earlier ones too."""
    last = connection.execute(LAST).one_or_none()
    low, high = 0, 0 if last is None else last.seq
    while low < high:
        middle = (low + high) // 2
        written_at = connection.scalar(WRITTEN_AT, {"seq": middle + 1})
        if written_at is not None and written_at < since - COMMITTED_WITHIN:
            low = middle + 1
        else:
            high = middle
    return low, 0 if last is None else last.seq


def unsealed(connection: Connection, *, limit: int, thoroughly: bool) -> Unsealed:
    """The oldest committed events without a number; without `thoroughly` not those that lie before `LOOK_BACK`. For the
    only sealer."""
    look_back = EVERYTHING if thoroughly else LOOK_BACK
    rows = UNSEALED.within(connection, {"most": limit, "look_back": look_back})
    if not rows or rows[0].last_seq is None:
        return Unsealed(0, GENESIS, rows)
    return Unsealed(rows[0].last_seq, rows[0].last_hash, rows)


def sealed(found: Unsealed) -> list[SealedEvent]:
    """These events with their numbers and hashes; nothing is written yet. The log's end has a hash."""
    if found.last_hash is None:
        raise ValueError("the log's end has no hash")
    return _chained(found.rows, range(found.last_seq + 1, found.last_seq + 1 + len(found.rows)), found.last_hash)


def _chained(rows: Sequence[Any], numbers: Sequence[int], previous_hash: str) -> list[SealedEvent]:
    done = []
    for row, seq in zip(rows, numbers, strict=True):
        told = {column.name: getattr(row, column.name) for column in TOLD}
        told |= {"seq": seq, "previous_hash": previous_hash}
        previous_hash = hash_of(told)
        done.append(SealedEvent(**told, hash=previous_hash))
    return done


def write(connection: Connection, events: Sequence[SealedEvent]) -> None:
    """Write numbers and hashes, add the events to the counters, and wake whoever follows the log, by the commit."""
    if not events:
        return
    counted = counters.folded(events, late=_late(connection, events))
    rows = [_row(event) for event in events]
    found, _ = SEAL_AND_COUNT.execute(connection, rows, counted, feed_payload=str(events[-1].seq))
    if found != len(events):
        raise Unstorable("an event was numbered by somebody who is not the sealer")


def sealed_after(connection: Connection, seq: int, *, limit: int) -> list[dict[str, Any]]:
    """Sealed events with their hashes, in order, from behind that `seq` on."""
    found = SEALED.where(EVENTS.c.seq > seq).order_by(EVENTS.c.seq).limit(limit)
    return [dict(row._mapping) for row in connection.execute(found)]


def _row(event: SealedEvent) -> dict[str, Any]:
    return {name: getattr(event, name) for name in ("position", "seq", "previous_hash", "hash")}


def chain(connection: Connection, *, limit: int) -> int:
    """Give the oldest events that have a number and no hash theirs: those of a release that did not chain. For the only
    sealer. Returns how many."""
    rows = connection.execute(UNCHAINED, {"most": limit}).all()
    if not rows:
        return 0
    first = rows[0].seq
    before = GENESIS if first == 1 else connection.scalar(HASH_AT, {"seq": first - 1})
    if before is None:
        raise Unstorable(f"the log's event {first} has none before it")
    CHAIN.execute(connection, [_row(event) for event in _chained(rows, [row.seq for row in rows], before)])
    return len(rows)


def _late(connection: Connection, rows: Sequence[SealedEvent]) -> set[int]:
    """Which of these are callbacks that came after a poll had told the end. Nearly all of a batch stand beside the end
    that they tell, and need no look at their job's history."""
    told = {row.track_id for row in rows if row.type in ENDS_TOLD and row.data.get("witness") == Witness.CALLBACK}
    heard = {row.track_id for row in rows if row.type == EventType.CALLBACK_RECEIVED}
    unclear = sorted(track_id for track_id in heard - told if track_id is not None)
    histories: dict[str, list[tuple[int, str, dict[str, Any]]]] = {}
    if unclear:
        for row in HISTORIES.execute(connection, unclear):
            histories.setdefault(row.track_id, []).append((row.position, row.type, row.data))
    return {position for history in histories.values() for position in late_ones(history)}
