"""Idempotency keys: claimed in the transaction of what they made. Of an erased job's key the digest alone is kept, so
that it is known when it comes again."""

import hashlib
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, or_, select, update
from sqlalchemy.exc import OperationalError

from webhook_app.domain.errors import IdempotencyInProgress
from webhook_app.store.bulk import AddMany, table_of
from webhook_app.store.lookup import Find
from webhook_app.store.tables import IdempotencyKey

LOCK_NOT_AVAILABLE = "55P03"
KEYS = table_of(IdempotencyKey)
NEW: dict[str, Any] = {"track_id": None, "batch_id": None}
CLAIM = AddMany(
    KEYS,
    columns=[column.key for column in KEYS.c],
    finish=lambda insert: insert.on_conflict_do_nothing().returning(KEYS.c.key),
)
FIND = Find(lambda among: select(KEYS).where(KEYS.c.client_id == bindparam("client_id"), among(KEYS.c.key)))


def claim(connection: Connection, rows: Sequence[dict[str, Any]]) -> bool:
    """Claim clients' keys. False when one of them was used before. Raises `IdempotencyInProgress` when the first
    request with one is still running after the lock time-out (2 s)."""
    # In one order everywhere, so that two processes with the same keys never wait for each other in a circle.
    ordered = sorted(rows, key=lambda row: (row["client_id"], row["key"]))
    try:
        claimed = CLAIM.execute(connection, [NEW | row for row in ordered]).all()
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) == LOCK_NOT_AVAILABLE:
            detail = "The first request with this Idempotency-Key is still running; repeat it in a moment."
            raise IdempotencyInProgress(detail, retry_after_s=1) from error
        raise
    return len(claimed) == len(rows)


def find(connection: Connection, client_id: str, keys: Collection[str]) -> dict[str, Any]:
    """What these keys of a client made, by key; where that has been erased the row's `request_sha256` is empty."""
    by_digest = {_digest_of(key): key for key in keys}
    found = FIND.named(connection, [*keys, *by_digest], client_id=client_id)
    return {by_digest.get(row.key, row.key): row for row in found if row.key in keys or not row.request_sha256}


def set_status_code(connection: Connection, client_id: str, key: str, status_code: int) -> None:
    """The first answer's status, where it became known only after a wait."""
    mine = (IdempotencyKey.client_id == client_id, IdempotencyKey.key == key)
    connection.execute(update(IdempotencyKey).where(*mine).values(status_code=status_code))


def erase(connection: Connection, *, track_id: str, batch_id: str | None) -> None:
    """Take everything out of the keys that made this job, or a batch of which nothing is left; `find` still knows
    them."""
    made = [IdempotencyKey.track_id == track_id]
    if batch_id is not None:
        made.append(IdempotencyKey.batch_id == batch_id)
    rows = connection.execute(select(IdempotencyKey.__table__).where(or_(*made))).all()
    for row in rows:
        if row.request_sha256:
            mine = (IdempotencyKey.client_id == row.client_id, IdempotencyKey.key == row.key)
            gone = {"key": _digest_of(row.key), "request_sha256": "", "location": ""}
            connection.execute(update(IdempotencyKey).where(*mine).values(**gone))


def _digest_of(key: str) -> str:
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
