"""What happened: events, attempts and callbacks of a job, and the log's newest end."""

from typing import Any

from sqlalchemy import Connection, Select, select, tuple_

from webhook_app.store.tables import Attempt, Callback, EventRow
from webhook_app.store.types import Instant


def events_of(connection: Connection, track_id: str, *, after: int = 0, limit: int) -> list[dict[str, Any]]:
    """A job's events, oldest first, after that `position`. `seq` is None until the sealer has come by."""
    statement = select(EventRow.__table__).where(EventRow.track_id == track_id, EventRow.position > after)
    return _dicts(connection, statement.order_by(EventRow.position).limit(limit))


def attempts_of(connection: Connection, track_id: str, *, after: int = 0, limit: int) -> list[dict[str, Any]]:
    """A job's attempts from the first on, after number `after`."""
    statement = select(Attempt.__table__).where(Attempt.track_id == track_id, Attempt.n > after)
    return _dicts(connection, statement.order_by(Attempt.n).limit(limit))


def callbacks_of(
    connection: Connection, track_id: str, *, after: tuple[Any, str] | None = None, limit: int
) -> list[dict[str, Any]]:
    """What the provider sent about a job, oldest first, after the (received_at, callback_id) of the page before."""
    key = tuple_(Callback.received_at, Callback.callback_id)
    statement = select(Callback.__table__).where(Callback.track_id == track_id)
    if after is not None:
        statement = statement.where(key > tuple_(*after, types=[Instant(), Callback.callback_id.type]))
    return _dicts(connection, statement.order_by(Callback.received_at, Callback.callback_id).limit(limit))


def tail(connection: Connection, *, after: int, limit: int) -> list[tuple[int, str | None]]:
    """The newest end of the log: (position, track_id) of what was written after that position."""
    statement = select(EventRow.position, EventRow.track_id).where(EventRow.position > after)
    rows = connection.execute(statement.order_by(EventRow.position).limit(limit))
    return [(row.position, row.track_id) for row in rows]


def _dicts(connection: Connection, statement: Select[Any]) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in connection.execute(statement)]
