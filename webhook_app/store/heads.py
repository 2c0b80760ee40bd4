"""Signed heads of the log, and the public keys that signed them. Rows are added; only their copying is noted later."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from webhook_app.domain.heads import Head, PublicKey, Statement
from webhook_app.store.reads.feed import log_end
from webhook_app.store.tables import EventRow, LogHead, SigningKey


def newest(connection: Connection) -> tuple[int, datetime] | None:
    """The last head that was signed: its seq, and when."""
    last = select(LogHead.seq, LogHead.signed_at).order_by(LogHead.seq.desc()).limit(1)
    row = connection.execute(last).one_or_none()
    return None if row is None else (row.seq, row.signed_at)


def newest_archived(connection: Connection) -> int:
    """The last head that has a copy in the archive: its seq, 0 for none."""
    return int(connection.scalar(select(func.max(LogHead.seq)).where(LogHead.archived_at.is_not(None))) or 0)


def end(connection: Connection) -> tuple[str, int, str] | None:
    """The log's id, and the last event that has a hash: seq and hash. None while there is none."""
    sealed = select(EventRow.seq, EventRow.hash).where(EventRow.seq.is_not(None)).order_by(EventRow.seq.desc()).limit(1)
    row = connection.execute(sealed).one_or_none()
    if row is None or row.hash is None:
        return None
    return log_end(connection).log_id, row.seq, row.hash


def add(connection: Connection, head: Head, key: PublicKey, *, now: datetime) -> bool:
    """Put it on record with its key. False when another process was first with this `seq`."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    known = insert(SigningKey).values(key_id=key.kid, public_key=key.x, created_at=now)
    connection.execute(known.on_conflict_do_nothing())
    said = head.statement
    row = insert(LogHead).values(
        seq=said.seq, hash=said.hash, signed_at=said.signed_at, key_id=said.kid, signature=head.signature
    )
    return connection.scalar(row.on_conflict_do_nothing().returning(LogHead.seq)) is not None


def unarchived(connection: Connection, *, limit: int) -> list[Head]:
    """Those of which no copy lies outside the database yet, oldest first."""
    return [head for head, _ in _heads(connection, LogHead.archived_at.is_(None), limit=limit)]


def after(connection: Connection, seq: int, *, limit: int) -> list[tuple[Head, bool]]:
    """Heads in order, from behind that `seq` on, and whether a copy lies outside."""
    return _heads(connection, LogHead.seq > seq, limit=limit)


def archived(connection: Connection, seqs: Sequence[int], *, now: datetime) -> None:
    """Note that copies of these lie outside."""
    connection.execute(update(LogHead).where(LogHead.seq.in_(seqs)).values(archived_at=now))


def _heads(connection: Connection, condition: ColumnElement[bool], *, limit: int) -> list[tuple[Head, bool]]:
    log_id = log_end(connection).log_id
    found = connection.execute(select(LogHead.__table__).where(condition).order_by(LogHead.seq).limit(limit))
    return [
        (
            Head(Statement(log_id, row.seq, row.hash, row.signed_at, row.key_id), row.signature),
            row.archived_at is not None,
        )
        for row in found
    ]
