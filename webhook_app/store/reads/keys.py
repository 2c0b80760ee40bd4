"""Clients and API keys; of a key nothing is read that would let anybody use it."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, select, tuple_

from webhook_app.store.bulk import Statement
from webhook_app.store.tables import ApiKey, Client
from webhook_app.store.types import Instant

After = tuple[datetime, str] | None


BY_SHA256 = Statement(
    lambda among: select(ApiKey.sha256, ApiKey.key_id, ApiKey.client_id, ApiKey.scopes, ApiKey.revoked_at).where(
        among(ApiKey.sha256)
    )
)


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as authentication sees it; `revoked_at` None while it works."""

    key_id: str
    client_id: str
    scopes: tuple[str, ...]
    revoked_at: datetime | None


def keys_by_sha256(connection: Connection, digests: Collection[str]) -> dict[str, KeyRow]:
    """The keys with these digests (hex), revoked or not, by digest."""
    rows = BY_SHA256.execute(connection, list(digests))
    return {row.sha256: KeyRow(row.key_id, row.client_id, tuple(row.scopes), row.revoked_at) for row in rows}


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
