"""Raw callbacks: kept as they came, once for each (job, attempt, body); a double only counts."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from webhook_app.store.tables import Callback

Key = tuple[str, int, str]


def keep(connection: Connection, rows: Sequence[dict[str, Any]]) -> set[Key]:
    """Insert the callbacks; one that is on record already only raises `times_seen` and `last_seen_at`. Returns the keys
    (track_id, attempt, sha256) of those that are new."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(Callback)
    key = [Callback.track_id, Callback.attempt, Callback.sha256]
    times = Callback.times_seen + statement.excluded.times_seen
    again = {"times_seen": times, "last_seen_at": statement.excluded.last_seen_at}
    upsert = statement.on_conflict_do_update(index_elements=key, set_=again).returning(*key, Callback.times_seen)
    once: dict[Key, dict[str, Any]] = {}
    # In one order everywhere, so that two processes with the same doubles never wait for each other in a circle.
    for row in sorted(rows, key=lambda row: (row["track_id"], row["attempt"], row["sha256"])):
        first = once.setdefault((row["track_id"], row["attempt"], row["sha256"]), row | {"times_seen": 0})
        first["times_seen"] += 1
    kept = connection.execute(upsert, list(once.values())).all()
    known = {(row.track_id, row.attempt, row.sha256): row.times_seen for row in kept}
    return {name for name, row in once.items() if known[name] == row["times_seen"]}


def settle(connection: Connection, settled: Sequence[dict[str, Any]]) -> None:
    """Write what became of callbacks: each dict has `track_id, attempt, sha256, verdict, problem, applied_at`. The
    first verdict stays."""
    statement = (
        update(Callback)
        .where(Callback.track_id == bindparam("at_track_id"), Callback.attempt == bindparam("at_attempt"))
        .where(Callback.sha256 == bindparam("at_sha256"), Callback.applied_at.is_(None))
        .values({name: bindparam(f"to_{name}") for name in ("verdict", "problem", "applied_at")} | {"retry_at": None})
    )
    rows = [
        {f"at_{name}": row[name] for name in ("track_id", "attempt", "sha256")}
        | {f"to_{name}": row[name] for name in ("verdict", "problem", "applied_at")}
        for row in settled
    ]
    if rows:
        connection.execute(statement, rows)


def lock_unapplied(connection: Connection, callback_id: str) -> bool:
    """Lock a callback before its job, as everywhere; False when somebody has applied it meanwhile."""
    mine = select(Callback.callback_id).where(Callback.callback_id == callback_id, Callback.applied_at.is_(None))
    return connection.scalar(mine.with_for_update()) is not None


def claim_unapplied(connection: Connection, *, put_off_until: datetime, now: datetime) -> Row[Any] | None:
    """The callback that has been kept raw for longest, put off so that it comes last should it fail again."""
    due = (
        select(Callback.__table__)
        .where(Callback.retry_at <= now, Callback.applied_at.is_(None))
        .order_by(Callback.retry_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    row = connection.execute(due).one_or_none()
    if row is not None:
        mine = update(Callback).where(Callback.callback_id == row.callback_id)
        connection.execute(mine.values(retry_at=put_off_until))
    return row
