"""Anchoring the log outside the database: every minute or 1,000 events its end is signed, and a copy goes to the
archive and to the process's own log. Who changes the database afterwards contradicts what lies there."""

import tempfile
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from webhook_app.domain.heads import Head, Statement, encoded, head_key
from webhook_app.signing.port import Signer
from webhook_app.storage.port import Storage
from webhook_app.store import heads
from webhook_app.store.engine import Store

log = structlog.get_logger("webhook_app.flows")
EVERY = timedelta(minutes=1)
EVENTS = 1_000
MEDIA_TYPE = "application/json"


def sign(store: Store, signer: Signer, *, now: datetime) -> int:
    """Sign where the log ends, if it is time. Returns how many heads were added, 0 or 1; two at once add one."""
    with store.reading() as connection:
        last, end = heads.newest(connection), heads.end(connection)
    if end is None or (last is not None and not _is_time(end[1] - last[0], now - last[1])):
        return 0
    log_id, seq, digest = end
    statement = Statement(log_id, seq, digest, now, signer.public_key.kid)
    head = Head(statement, encoded(signer.sign(statement.text)))
    with store.writing() as connection:
        if not heads.add(connection, head, signer.public_key, now=now):
            return 0
    log.info("log.head", **statement.members, signature=head.signature)
    return 1


def _is_time(events: int, passed: timedelta) -> bool:
    return events >= EVENTS or (events > 0 and passed >= EVERY)


def archive(store: Store, storage: Storage, *, limit: int, now: datetime) -> int:
    """Copy heads to the archive. May be repeated: there each is made once. Returns how many. Raises `StorageError`."""
    with store.reading() as connection:
        waiting = heads.unarchived(connection, limit=limit)
    if waiting:
        _put(storage, waiting)
        with store.writing() as connection:
            heads.archived(connection, [head.statement.seq for head in waiting], now=now)
    return len(waiting)


def _put(storage: Storage, waiting: Sequence[Head]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "head.json"
        for head in waiting:
            source.write_bytes(head.document)
            storage.put_if_absent(head_key(head.statement.log_id, head.statement.seq), source, MEDIA_TYPE)
