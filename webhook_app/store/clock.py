"""What time the database thinks it is."""

from datetime import UTC, datetime

from sqlalchemy import Connection, func, select


def database_now(connection: Connection) -> datetime:
    """The database's clock; SQLite's is this machine's, in whole seconds."""
    found = connection.scalar(select(func.now()))
    if not isinstance(found, datetime):
        return datetime.now(UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
