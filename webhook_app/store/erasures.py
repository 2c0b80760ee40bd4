"""Erasures: asked for with the mark on their jobs, taken by a worker, put off until there is nothing left to do."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, exists, insert, select, update

from webhook_app.domain.erasure import ErasureStatus, ProviderCopy
from webhook_app.store.tables import Erasure

FRESH = {"status": ErasureStatus.PENDING.value, "matched": 1, "provider_tries": 0, "digests": [], "copies": {}}


def add(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """New ones, to be taken up at their `requested_at`."""
    connection.execute(insert(Erasure), [FRESH | {"due_at": row["requested_at"]} | row for row in rows])


def of_job(connection: Connection, track_id: str) -> Row[Any] | None:
    """The job's erasure; None where nobody asked for one."""
    return connection.execute(select(Erasure.__table__).where(Erasure.track_id == track_id)).one_or_none()


def get(connection: Connection, erasure_id: str) -> Row[Any] | None:
    """One of them."""
    return connection.execute(select(Erasure.__table__).where(Erasure.erasure_id == erasure_id)).one_or_none()


def is_any_due(connection: Connection, *, now: datetime) -> bool:
    """Whether there is something to claim."""
    return bool(connection.scalar(select(exists().where(Erasure.due_at <= now))))


def claim(connection: Connection, *, limit: int, put_off_until: datetime, now: datetime) -> list[Row[Any]]:
    """Those that are due, the longest first, put off so that nobody else takes them meanwhile: should the worker die,
    they are due again then."""
    due = (
        select(Erasure.erasure_id)
        .where(Erasure.due_at <= now)
        .order_by(Erasure.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = connection.scalars(due).all()
    if not ids:
        return []
    statement = update(Erasure).where(Erasure.erasure_id.in_(ids))
    taken = statement.values(status=ErasureStatus.RUNNING.value, due_at=put_off_until).returning(Erasure.__table__)
    return sorted(connection.execute(taken), key=lambda row: (row.requested_at, row.erasure_id))


def save(connection: Connection, erasure_id: str, **values: Any) -> None:
    """Write what is known by now of one that is not done."""
    mine = (Erasure.erasure_id == erasure_id, Erasure.status != ErasureStatus.DONE)
    connection.execute(update(Erasure).where(*mine).values(**values))


def note_copy(connection: Connection, erasure_id: str, attempt: int, copy: ProviderCopy) -> None:
    """What became of the provider's copy of one attempt; the first word stays. The job's lock is held."""
    found = get(connection, erasure_id)
    if found is not None:
        save(connection, erasure_id, copies={str(attempt): copy.value} | found.copies)


def open_among(connection: Connection, track_ids: Collection[str]) -> dict[str, frozenset[int]]:
    """Those of these jobs whose erasing goes on, each with the attempts of whose copies something is known by now."""
    statement = select(Erasure.track_id, Erasure.copies)
    rows = connection.execute(statement.where(Erasure.track_id.in_(sorted(track_ids)), Erasure.completed_at.is_(None)))
    return {row.track_id: frozenset(map(int, row.copies)) for row in rows}


def finish(connection: Connection, erasure_id: str, *, provider_copy: ProviderCopy, now: datetime) -> None:
    """There is nothing left to do."""
    done = {"status": ErasureStatus.DONE.value, "completed_at": now, "due_at": None}
    save(connection, erasure_id, provider_copy=provider_copy.value, **done)


def is_any_unfinished(connection: Connection, parent_id: str) -> bool:
    """Whether something below this one is still to be done."""
    below = exists().where(Erasure.parent_id == parent_id, Erasure.completed_at.is_(None))
    return bool(connection.scalar(select(below)))


def copies_below(connection: Connection, parent_id: str) -> list[ProviderCopy]:
    """What became of the provider's copies of all below this one, each word once."""
    words = select(Erasure.provider_copy).where(Erasure.parent_id == parent_id).distinct()
    return [ProviderCopy(word) for word in connection.scalars(words) if word is not None]
