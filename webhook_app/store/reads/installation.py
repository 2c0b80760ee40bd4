"""The installation itself: where its schema stands."""

from sqlalchemy import Connection, inspect, text

from webhook_app.store.migrations import is_behind


def database_revision(connection: Connection) -> str | None:
    """The migration at which the database stands; None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def is_upgraded(connection: Connection) -> bool:
    """Whether the schema is at least what this code needs."""
    return not is_behind(database_revision(connection))
