"""Slots: the right to have a job with a provider, over all workers and machines; and the provider's pause."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from webhook_app.store.bulk import SaveMany, table_of
from webhook_app.store.tables import Job, ProviderState, Slot

SLOTS = table_of(Slot)
RELEASE = SaveMany(SLOTS, key=["track_id"], columns=[], also={"track_id": None, "free_at": None})


def ensure(connection: Connection, provider: str, wanted: int) -> None:
    """Make as many slots as are allowed; surplus free ones go, surplus held ones go once they are free."""
    have = set(connection.scalars(select(Slot.n).where(Slot.provider == provider)))
    missing = [n for n in range(wanted) if n not in have]
    if missing:
        # Another worker may make the same ones just now.
        made = _dialect(connection).insert(Slot).on_conflict_do_nothing()
        connection.execute(made, [{"provider": provider, "n": n} for n in missing])
    if any(n >= wanted for n in have):
        connection.execute(delete(Slot).where(Slot.provider == provider, Slot.n >= wanted, Slot.track_id.is_(None)))


def count(connection: Connection, provider: str) -> int:
    """How many slots exist."""
    return int(connection.scalar(select(func.count()).where(Slot.provider == provider)) or 0)


def free(connection: Connection, provider: str, *, wanted: int, limit: int, now: datetime) -> Sequence[int]:
    """Free slots, locked for this transaction, at most `limit`."""
    statement = (
        select(Slot.n)
        .where(Slot.provider == provider, Slot.n < wanted, or_(Slot.track_id.is_(None), Slot.free_at < now))
        .order_by(Slot.n)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return connection.scalars(statement).all()


def take(connection: Connection, provider: str, n: int, *, track_id: str, free_at: datetime) -> None:
    """Put a job into a slot that `free` locked."""
    statement = update(Slot).where(Slot.provider == provider, Slot.n == n)
    connection.execute(statement.values(track_id=track_id, free_at=free_at))


def hold(connection: Connection, track_id: str, *, free_at: datetime, now: datetime) -> None:
    """Keep a job's slot until then at the latest. One whose time is over is not taken back: a job that was claimed
    again has another, and would hold two."""
    held = update(Slot).where(Slot.track_id == track_id, Slot.free_at >= now)
    connection.execute(held.values(free_at=free_at))


def release(connection: Connection, track_ids: Sequence[str]) -> None:
    """The provider has nothing of these jobs in hand any more."""
    if track_ids:
        RELEASE.execute(connection, [{"track_id": track_id} for track_id in sorted(track_ids)])


def in_flight_by_client(connection: Connection, provider: str, now: datetime) -> dict[str, int]:
    """How many slots each client's jobs hold."""
    statement = (
        select(Job.client_id, func.count())
        .join(Slot, Slot.track_id == Job.track_id)
        .where(Slot.provider == provider, Slot.free_at >= now)
        .group_by(Job.client_id)
    )
    return {client_id: int(held) for client_id, held in connection.execute(statement)}


def state(connection: Connection, provider: str) -> Row[Any] | None:
    """The provider's pause, None when there never was one."""
    statement = select(ProviderState.__table__).where(ProviderState.provider == provider)
    return connection.execute(statement).one_or_none()


def lock_state(connection: Connection, provider: str) -> Row[Any]:
    """The provider's pause, locked; made first where there is none, so that two who pause at once wait for each
    other."""
    connection.execute(_dialect(connection).insert(ProviderState).values(provider=provider).on_conflict_do_nothing())
    statement = select(ProviderState.__table__).where(ProviderState.provider == provider).with_for_update()
    return connection.execute(statement).one()


def write_state(connection: Connection, provider: str, values: dict[str, Any]) -> None:
    """Set or clear the pause that `lock_state` locked."""
    connection.execute(update(ProviderState).where(ProviderState.provider == provider).values(**values))


def _dialect(connection: Connection) -> Any:
    return postgresql if connection.dialect.name == "postgresql" else sqlite
