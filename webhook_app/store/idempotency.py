"""Idempotency keys: claimed in the transaction of what they made."""

from typing import Any

from sqlalchemy import Connection, Row, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import OperationalError

from webhook_app.domain.errors import IdempotencyInProgress
from webhook_app.store.tables import IdempotencyKey

LOCK_NOT_AVAILABLE = "55P03"


def claim(connection: Connection, values: dict[str, Any]) -> bool:
    """Claim a client's key. False when it was used before. Raises `IdempotencyInProgress` when the first request with
    it is still running after the lock time-out (2 s)."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(IdempotencyKey).values(**values).on_conflict_do_nothing().returning(IdempotencyKey.key)
    try:
        return connection.scalar(statement) is not None
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) == LOCK_NOT_AVAILABLE:
            detail = "The first request with this Idempotency-Key is still running; repeat it in a moment."
            raise IdempotencyInProgress(detail, retry_after_s=1) from error
        raise


def get(connection: Connection, client_id: str, key: str) -> Row[Any] | None:
    """What the key made."""
    mine = (IdempotencyKey.client_id == client_id, IdempotencyKey.key == key)
    return connection.execute(select(IdempotencyKey.__table__).where(*mine)).one_or_none()


def set_status_code(connection: Connection, client_id: str, key: str, status_code: int) -> None:
    """The first answer's status, where it became known only after a wait."""
    mine = (IdempotencyKey.client_id == client_id, IdempotencyKey.key == key)
    connection.execute(update(IdempotencyKey).where(*mine).values(status_code=status_code))
