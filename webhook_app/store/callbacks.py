"""Raw callbacks: kept as they came, once for each (job, attempt, body); a double only counts.

A callback's job is locked before it, in every flow: what a flow has read of a locked job's callbacks stays true.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, case, func, literal_column, null, or_, select, tuple_, update

from webhook_app.domain.advance import Verdict
from webhook_app.store.bulk import AddMany, SaveMany, table_of
from webhook_app.store.tables import Attempt, Callback

Key = tuple[str, int, str]
CALLBACKS = table_of(Callback)
KEY = ("track_id", "attempt", "sha256")
# Not a parameter: the partial index must be seen to fit.
ORPHANED = Callback.verdict == literal_column(f"'{Verdict.ORPHANED}'")


def _merge_double(insert: Any) -> Any:
    """A row that nobody has applied takes over what its double says; a verdict stays."""
    old, new = CALLBACKS.c, insert.excluded
    merged = {"times_seen": old.times_seen + new.times_seen, "last_seen_at": new.last_seen_at}
    said = ("verdict", "problem", "applied_at", "names_track_id")
    merged |= {name: case((old.applied_at.is_(None), new[name]), else_=old[name]) for name in said}
    # A raw double does not put off the turn of the first; a verdict ends the waiting.
    merged |= {"retry_at": case((new.applied_at.is_(None), old.retry_at), else_=null())}
    upsert = insert.on_conflict_do_update(index_elements=[old[name] for name in KEY], set_=merged)
    return upsert.returning(*(old[name] for name in KEY), old.applied_at)


KEEP = AddMany(
    CALLBACKS,
    columns=[
        "callback_id",
        "provider",
        *KEY,
        "names_track_id",
        "times_seen",
        "body",
        "content_type",
        "headers",
        "remote_addr",
        "verdict",
        "problem",
        "applied_at",
        "retry_at",
        "received_at",
        "last_seen_at",
    ],
    finish=_merge_double,
)
# What became of callbacks; the first verdict stays (but see `settle_again`).
SETTLE = SaveMany(
    CALLBACKS,
    key=KEY,
    columns=["verdict", "problem", "applied_at", "names_track_id"],
    found=[CALLBACKS.c.applied_at.is_(None)],
    also={"retry_at": None},
)
# Of an erased job's callbacks the digest and the times stay.
ERASED: dict[str, Any] = {
    "body": None,
    "headers": {},
    "content_type": None,
    "remote_addr": None,
    "problem": None,
    "retry_at": None,
    "names_track_id": None,
}


def keep(connection: Connection, rows: Sequence[dict[str, Any]]) -> set[Key]:
    """Insert callbacks without a verdict. A double raises `times_seen` and `last_seen_at`, and on a row that nobody has
    applied replaces `problem` and `names_track_id`. Returns the keys of those that nobody has applied: new, or kept raw
    before."""
    if not rows:
        return set()
    kept = KEEP.execute(connection, folded(rows))
    return {(row.track_id, row.attempt, row.sha256) for row in kept if row.applied_at is None}


def folded(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each key, its doubles counted in `times_seen`; in one order, so that two processes that write the
    same ones never wait for each other in a circle."""
    found: dict[Key, dict[str, Any]] = {}
    for row in sorted(rows, key=_key_of):
        first = found.setdefault(_key_of(row), row | {"times_seen": 0})
        first["times_seen"] += 1
    return list(found.values())


def _key_of(row: Mapping[str, Any]) -> Key:
    return row["track_id"], row["attempt"], row["sha256"]


def adoptable(connection: Connection, *, limit: int) -> Sequence[str]:
    """The ids of orphans whose attempt exists by now, oldest first."""
    sent = (Attempt.track_id == Callback.track_id) & (Attempt.n == Callback.attempt)
    statement = select(Callback.callback_id).join(Attempt, sent).where(ORPHANED, Callback.body.is_not(None))
    return connection.scalars(statement.order_by(Callback.received_at, Callback.callback_id).limit(limit)).all()


def lock_unapplied(connection: Connection, callback_id: str) -> bool:
    """Lock a callback, after its job; False when somebody has applied it meanwhile."""
    mine = select(Callback.callback_id).where(Callback.callback_id == callback_id, Callback.applied_at.is_(None))
    return connection.scalar(mine.with_for_update()) is not None


def get(connection: Connection, callback_id: str) -> Row[Any] | None:
    """One callback, not locked."""
    return connection.execute(select(Callback.__table__).where(Callback.callback_id == callback_id)).one_or_none()


def lock(connection: Connection, callback_id: str) -> Row[Any] | None:
    """A callback, locked after its job; None when there is none of this id."""
    mine = select(Callback.__table__).where(Callback.callback_id == callback_id)
    return connection.execute(mine.with_for_update()).one_or_none()


def settle_again(
    connection: Connection,
    callback_id: str,
    *,
    verdict: str,
    problem: str | None,
    names_track_id: str | None,
    now: datetime,
) -> None:
    """Replace what became of a callback that `lock` locked: the one way past its first verdict."""
    again = {"verdict": verdict, "problem": problem, "names_track_id": names_track_id, "applied_at": now}
    connection.execute(update(Callback).where(Callback.callback_id == callback_id).values(retry_at=None, **again))


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


def erase_of(connection: Connection, track_id: str, *, now: datetime) -> None:
    """Take everything out of a job's callbacks, those that wait to be applied included, and out of those of other jobs
    whose bodies name it. Locks them, after the job and in the order of `keep`."""
    mine, others = Callback.track_id == track_id, Callback.names_track_id == track_id
    order = (Callback.track_id, Callback.attempt, Callback.sha256)
    connection.execute(select(Callback.callback_id).where(or_(mine, others)).order_by(*order).with_for_update()).all()
    unapplied = or_(Callback.verdict.is_(None), ORPHANED)
    settled = {
        "verdict": case((unapplied, Verdict.ERASED.value), else_=Callback.verdict),
        "applied_at": func.coalesce(Callback.applied_at, now),
    }
    connection.execute(update(Callback).where(mine).values(ERASED | settled))
    connection.execute(update(Callback).where(others).values(ERASED))


def erase(connection: Connection, keys: Sequence[Key]) -> None:
    """Take everything out of these callbacks, which this transaction keeps or has locked."""
    columns = [CALLBACKS.c[name] for name in KEY]
    wanted = tuple_(*columns, types=[column.type for column in columns]).in_(sorted(keys))
    connection.execute(update(Callback).where(wanted).values(ERASED))
