"""Endpoints of clients, and the secrets that sign. Secrets are here as they are stored: locked."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from webhook_app.domain.webhooks import Reason
from webhook_app.store.bulk import Statement, table_of
from webhook_app.store.tables import Endpoint, WebhookSecret

ENDPOINTS = table_of(Endpoint)
SECRETS = table_of(WebhookSecret)
SIGNING = (ENDPOINTS.c.endpoint_id, ENDPOINTS.c.receiver, ENDPOINTS.c.secret, ENDPOINTS.c.previous_secret)
AT_RECEIVERS = Statement(
    lambda among: (
        select(*SIGNING, ENDPOINTS.c.previous_until)
        .where(among(ENDPOINTS.c.receiver), ENDPOINTS.c.disabled_at.is_(None))
        .order_by(ENDPOINTS.c.created_at, ENDPOINTS.c.endpoint_id)
    )
)
BY_ID = Statement(lambda among: select(*SIGNING, ENDPOINTS.c.previous_until).where(among(ENDPOINTS.c.endpoint_id)))
OF_CLIENTS = Statement(lambda among: select(SECRETS).where(among(SECRETS.c.client_id)))
ADD_SECRET = {
    name: dialect.insert(SECRETS).on_conflict_do_nothing()
    for name, dialect in (("postgresql", postgresql), ("sqlite", sqlite))
}
TOLD = (Endpoint.endpoint_id, Endpoint.client_id, Endpoint.disabled_reason)


def add(connection: Connection, values: Mapping[str, Any]) -> None:
    connection.execute(insert(Endpoint).values(**values))


def count(connection: Connection, client_id: str) -> int:
    """How many a client has."""
    return connection.scalar(select(func.count()).where(Endpoint.client_id == client_id)) or 0


def lock(connection: Connection, endpoint_id: str) -> Row[Any] | None:
    """One endpoint, locked; None when there is none."""
    statement = select(ENDPOINTS).where(ENDPOINTS.c.endpoint_id == endpoint_id)
    return connection.execute(statement.with_for_update()).one_or_none()


def save(connection: Connection, endpoint_id: str, values: Mapping[str, Any]) -> None:
    """Write a locked one."""
    connection.execute(update(Endpoint).where(Endpoint.endpoint_id == endpoint_id).values(**values))


def remove(connection: Connection, endpoint_id: str) -> None:
    connection.execute(delete(Endpoint).where(Endpoint.endpoint_id == endpoint_id))


def rotate(connection: Connection, endpoint_id: str, *, secret: str, previous_until: datetime) -> bool:
    """The old secret signs too until then. False when there is no such endpoint."""
    values = {"previous_secret": Endpoint.secret, "previous_until": previous_until, "secret": secret}
    return bool(connection.execute(update(Endpoint).where(Endpoint.endpoint_id == endpoint_id).values(values)).rowcount)


def disable(connection: Connection, receiver: str, reason: Reason, *, now: datetime) -> list[Row[Any]]:
    """Send nothing more to this URL of its client; returns `endpoint_id, client_id, disabled_reason` of those that
    were active."""
    active = (Endpoint.receiver == receiver, Endpoint.disabled_at.is_(None))
    statement = update(Endpoint).where(*active).values(disabled_at=now, disabled_reason=reason.value)
    return list(connection.execute(statement.returning(*TOLD)))


def is_active(connection: Connection, receiver: str) -> bool:
    """Whether an endpoint sends to this URL of its client."""
    active = select(Endpoint.endpoint_id).where(Endpoint.receiver == receiver, Endpoint.disabled_at.is_(None))
    return connection.scalar(active.limit(1)) is not None


def at_receivers(connection: Connection, receivers: Collection[str]) -> dict[str, list[Row[Any]]]:
    """The active endpoints at these URLs, the oldest first, with their secrets."""
    found: dict[str, list[Row[Any]]] = {}
    for row in AT_RECEIVERS.execute(connection, sorted(receivers)) if receivers else ():
        found.setdefault(row.receiver, []).append(row)
    return found


def by_id(connection: Connection, endpoint_ids: Collection[str]) -> dict[str, Row[Any]]:
    """Endpoints, disabled ones too, with their secrets."""
    if not endpoint_ids:
        return {}
    return {row.endpoint_id: row for row in BY_ID.execute(connection, sorted(endpoint_ids))}


def to_recover(connection: Connection, *, limit: int) -> Sequence[Row[Any]]:
    """Active endpoints to which past events are to be sent."""
    statement = select(ENDPOINTS).where(ENDPOINTS.c.recover_after.is_not(None))
    return connection.execute(statement.order_by(ENDPOINTS.c.recover_after).limit(limit)).all()


def recovered(connection: Connection, row: Row[Any], *, after: int | None) -> None:
    """How far the recovering is, None when it is done; nothing where somebody asked for another one meanwhile."""
    same = (
        Endpoint.endpoint_id == row.endpoint_id,
        Endpoint.recover_after == row.recover_after,
        Endpoint.recover_until == row.recover_until,
    )
    values = {"recover_after": after} | ({} if after is not None else {"recover_until": None, "recover_since": None})
    connection.execute(update(Endpoint).where(*same).values(**values))


def default_secrets(connection: Connection, client_ids: Collection[str]) -> dict[str, Row[Any]]:
    """Clients' secrets for the URLs of their jobs; who has none yet is left out."""
    if not client_ids:
        return {}
    return {row.client_id: row for row in OF_CLIENTS.execute(connection, sorted(client_ids))}


def ensure_default_secret(connection: Connection, client_id: str, *, secret: str, now: datetime) -> Row[Any]:
    """The client's secret: this one if it had none."""
    if (row := default_secrets(connection, [client_id]).get(client_id)) is None:
        values = {"client_id": client_id, "secret": secret, "created_at": now}
        connection.execute(ADD_SECRET[connection.dialect.name], values)
        row = default_secrets(connection, [client_id])[client_id]
    return row


def rotate_default(connection: Connection, client_id: str, *, secret: str, previous_until: datetime) -> None:
    """As `rotate`, for a client that has a secret."""
    values = {"previous_secret": WebhookSecret.secret, "previous_until": previous_until, "secret": secret}
    connection.execute(update(WebhookSecret).where(WebhookSecret.client_id == client_id).values(values))


def locked_otherwise(connection: Connection, newest: str, *, limit: int) -> list[tuple[str, str, str]]:
    """Secrets that do not begin with `newest`: (whose, `secret` or `previous_secret`, the text)."""
    found: list[tuple[str, str, str]] = []
    for table, owner in ((Endpoint, Endpoint.endpoint_id), (WebhookSecret, WebhookSecret.client_id)):
        old = or_(~table.secret.startswith(newest), ~table.previous_secret.startswith(newest))
        statement = select(owner.label("owner"), table.secret, table.previous_secret).where(old)
        for row in connection.execute(statement.order_by(owner).limit(limit)):
            texts = {"secret": row.secret, "previous_secret": row.previous_secret}
            found += [(row.owner, name, text) for name, text in texts.items() if text and not text.startswith(newest)]
    return found


def lock_again(connection: Connection, owner: str, name: str, *, old: str, new: str) -> None:
    """Replace a stored secret by the same one under another key; nothing where it was rotated meanwhile."""
    for table, key in ((Endpoint, Endpoint.endpoint_id), (WebhookSecret, WebhookSecret.client_id)):
        statement = update(table).where(key == owner, getattr(table, name) == old)
        connection.execute(statement.values({name: new}))
