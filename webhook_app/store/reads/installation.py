"""The installation itself: where its schema stands and whether its providers are paused."""

from typing import Any

from sqlalchemy import Connection, inspect, select, text

from webhook_app.store.migrations import is_behind
from webhook_app.store.tables import ProviderState


def database_revision(connection: Connection) -> str | None:
    """The migration at which the database stands; None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def is_upgraded(connection: Connection) -> bool:
    """Whether the schema is at least what this code needs."""
    return not is_behind(database_revision(connection))


def provider_state(connection: Connection) -> list[dict[str, Any]]:
    """Pauses and why, one row for each provider that was ever paused."""
    statement = select(ProviderState.__table__).order_by(ProviderState.provider).limit(100)
    return [dict(row._mapping) for row in connection.execute(statement)]
