"""Clients and their API keys; of a key only its SHA-256 is kept."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from webhook_app.store.tables import ApiKey, Client


def ensure_client(connection: Connection, *, client_id: str, name: str, now: datetime) -> str:
    """The id of the client with this name, who is made with `client_id` when there is none. Safe against a race."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    made = dialect.insert(Client).values(client_id=client_id, name=name, created_at=now).on_conflict_do_nothing()
    connection.execute(made)
    return connection.execute(select(Client.client_id).where(Client.name == name)).scalar_one()


def add_key(
    connection: Connection,
    *,
    key_id: str,
    client_id: str,
    name: str,
    sha256: str,
    scopes: Sequence[str],
    now: datetime,
) -> None:
    """A new key of a client."""
    values = {"key_id": key_id, "client_id": client_id, "name": name, "sha256": sha256, "scopes": list(scopes)}
    connection.execute(insert(ApiKey).values(created_at=now, **values))


def key_id_of(connection: Connection, sha256: str) -> str | None:
    """The id of the key with this digest, revoked or not."""
    return connection.scalar(select(ApiKey.key_id).where(ApiKey.sha256 == sha256))


def revoke(connection: Connection, key_id: str, *, now: datetime) -> bool:
    """End a key. True when it exists, revoked now or before."""
    if connection.scalar(select(ApiKey.key_id).where(ApiKey.key_id == key_id)) is None:
        return False
    connection.execute(
        update(ApiKey).where(ApiKey.key_id == key_id, ApiKey.revoked_at.is_(None)).values(revoked_at=now)
    )
    return True


def any_key(connection: Connection) -> bool:
    """Whether the installation has any API key yet."""
    return connection.scalar(select(ApiKey.key_id).limit(1)) is not None
