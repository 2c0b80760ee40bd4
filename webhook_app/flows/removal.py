"""Removing bytes that no picture shows, after the commit that said so: each apart, and what cannot be removed now again
later."""

import random
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Row

from webhook_app.domain import schedule
from webhook_app.domain.errors import StorageError
from webhook_app.domain.keys import blob_key, thumbnail_key
from webhook_app.storage.port import Storage
from webhook_app.store import blobs
from webhook_app.store.engine import Store

# Longer than a whole batch takes.
HELD = timedelta(minutes=15)
# An archiver that died leaves bytes behind that nobody shows; a living one needs less than that for a put.
ABANDONED_AFTER = timedelta(minutes=10)
# So many failures in a row are the archive's, not theirs: the rest is left alone.
ENOUGH = 3

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Removed:
    """How many bytes were removed, and how many could not be."""

    count: int
    failed: int

    def __add__(self, other: "Removed") -> "Removed":
        return Removed(self.count + other.count, self.failed + other.failed)


def remove_unreferenced(
    store: Store,
    storage: Storage,
    *,
    clock: Callable[[], datetime],
    among: Collection[str] | None = None,
    limit: int = 100,
) -> Removed:
    """Remove bytes that no picture shows, of these digests (None: of all). What cannot be removed is logged, put off,
    and holds up no others."""
    now, started = clock(), time.monotonic()
    until = now + HELD
    with store.writing() as connection:
        rows = blobs.claim_unreferenced(
            connection,
            limit=limit,
            abandoned_before=now - ABANDONED_AFTER,
            lease_until=until,
            now=now,
            among=among,
        )
    removed, in_a_row = Removed(0, 0), 0
    for n, row in enumerate(rows):
        # Were we stopped meanwhile, somebody may have them soon, and put the same bytes anew.
        if in_a_row == ENOUGH or time.monotonic() - started > HELD.total_seconds() / 2:
            _give_back(store, rows[n:], until)
            break
        done = _remove(store, storage, row, until, clock)
        removed, in_a_row = removed + Removed(done, not done), 0 if done else in_a_row + 1
    return removed


def again_after(tries: int) -> timedelta:
    """How long bytes are left alone that could not be removed so often: from seconds up to an hour."""
    return schedule.backoff(tries, jitter=random.random(), first_s=5.0, most_s=3600.0)


def _remove(store: Store, storage: Storage, row: Row[Any], until: datetime, clock: Callable[[], datetime]) -> bool:
    try:
        for key in (blob_key(row.sha256), *(thumbnail_key(row.sha256, size) for size in row.thumbnails)):
            storage.delete(key)
    except StorageError as error:
        delay = again_after(row.remove_tries)
        log.warning("blob.not_removed", sha256=row.sha256, error=str(error), again_in_s=round(delay.total_seconds()))
        with store.writing() as connection:
            blobs.put_off(connection, row.sha256, lease_until=until, until=clock() + delay)
        return False
    with store.writing() as connection:
        if not blobs.removed(connection, row.sha256, lease_until=until):
            log.warning("blob.removed_again", sha256=row.sha256)  # Somebody has them by now, to remove or to put.
    return True


def _give_back(store: Store, rows: Sequence[Row[Any]], until: datetime) -> None:
    with store.writing() as connection:
        blobs.give_back(connection, [row.sha256 for row in rows], lease_until=until)
