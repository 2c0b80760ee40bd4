"""Clients and API keys; of a key nothing is read that would let anybody use it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, bindparam, select, tuple_

from webhook_app.store.tables import ApiKey, Client
from webhook_app.store.types import Instant

After = tuple[datetime, str] | None


BY_SHA256 = select(ApiKey.key_id, ApiKey.client_id, ApiKey.scopes, ApiKey.revoked_at).where(
    ApiKey.sha256 == bindparam("sha256")
)


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as authentication sees it; `revoked_at` None while it works."""

    key_id: str
    client_id: str
    scopes: tuple[str, ...]
    revoked_at: datetime | None


def key_by_sha256(connection: Connection, sha256: str) -> KeyRow | None:
    """The key with this digest (hex), revoked or not."""
    row = connection.execute(BY_SHA256, {"sha256": sha256}).one_or_none()
    return None if row is None else KeyRow(row.key_id, row.client_id, tuple(row.scopes), row.revoked_at)


KEYS: Select[Any] = select(
    ApiKey.key_id,
    ApiKey.client_id,
    Client.name.label("client"),
    ApiKey.name,
    ApiKey.scopes,
    ApiKey.created_at,
    ApiKey.revoked_at,
).join(Client)


def key(connection: Connection, key_id: str) -> dict[str, Any] | None:
    """One key with its client's name."""
    row = connection.execute(KEYS.where(ApiKey.key_id == key_id)).one_or_none()
    return None if row is None else dict(row._mapping)


def keys(connection: Connection, *, after: After = None, limit: int) -> list[dict[str, Any]]:
    """All keys with their client's name, oldest first, after the (created_at, key_id) of the page before."""
    statement = KEYS
    if after is not None:
        position = tuple_(*after, types=[Instant(), ApiKey.key_id.type])
        statement = statement.where(tuple_(ApiKey.created_at, ApiKey.key_id) > position)
    rows = connection.execute(statement.order_by(ApiKey.created_at, ApiKey.key_id).limit(limit))
    return [dict(row._mapping) for row in rows]


def clients(connection: Connection, *, after: After = None, limit: int) -> list[dict[str, Any]]:
    """All clients, oldest first, after the (created_at, client_id) of the page before."""
    statement = select(Client.__table__)
    if after is not None:
        position = tuple_(*after, types=[Instant(), Client.client_id.type])
        statement = statement.where(tuple_(Client.created_at, Client.client_id) > position)
    rows = connection.execute(statement.order_by(Client.created_at, Client.client_id).limit(limit))
    return [dict(row._mapping) for row in rows]


def client_by_name(connection: Connection, name: str) -> dict[str, Any] | None:
    """The client with this name."""
    row = connection.execute(select(Client.__table__).where(Client.name == name)).one_or_none()
    return None if row is None else dict(row._mapping)
