"""The sealed log as its followers read it: in the order of `seq`, without gaps."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from webhook_app.domain.heads import PublicKey
from webhook_app.store.tables import EventRow, LogRow, SigningKey

KEYS_AT_MOST = 1_000
COLUMNS = [
    EventRow.__table__.c[name]
    for name in ("event_id", "seq", "type", "track_id", "batch_id", "client_id", "actor", "created_at", "data")
]
END = select(LogRow.log_id, select(func.coalesce(func.max(EventRow.seq), 0)).scalar_subquery().label("seq"))


@dataclass(frozen=True, slots=True)
class LogEnd:
    """Which log this is, and the last `seq` of it, 0 for none."""

    log_id: str
    seq: int


def log_end(connection: Connection) -> LogEnd:
    """Where the sealed log ends now. What a later query finds up to there is all there is, and stays so."""
    row = connection.execute(END).one()
    return LogEnd(row.log_id, row.seq)


def sealed_events(
    connection: Connection,
    *,
    after: int,
    up_to: int | None = None,
    client_id: str | None = None,
    track_id: str | None = None,
    types: Collection[str] = (),
    limit: int,
) -> list[dict[str, Any]]:
    """Sealed events with `after < seq <= up_to`, in order. `client_id` None is everyone's, no `types` all of them.
    `track_id` stands for itself: whoever may see a job may see all of its events."""
    statement = select(*COLUMNS).where(EventRow.seq > after)
    if up_to is not None:
        statement = statement.where(EventRow.seq <= up_to)
    if track_id is not None:
        statement = statement.where(EventRow.track_id == track_id)
    elif client_id is not None:
        statement = statement.where(EventRow.client_id == client_id)
    if types:
        statement = statement.where(EventRow.type.in_(sorted(types)))
    rows = connection.execute(statement.order_by(EventRow.seq).limit(limit))
    return [dict(row._mapping) for row in rows]


def signing_keys(connection: Connection) -> list[PublicKey]:
    """Every key that ever signed a head of this log, the newest first."""
    newest_first = select(SigningKey.public_key).order_by(SigningKey.created_at.desc(), SigningKey.key_id)
    return [PublicKey(x) for x in connection.scalars(newest_first.limit(KEYS_AT_MOST))]
