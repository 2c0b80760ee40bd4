"""Removing what lies in the archive and belongs to no picture: objects without a row, and bytes whose row no picture
refers to.

A put writes the row first, so an object without one was left behind. Between that look and the removal somebody might
put the same bytes: a row that says `deleting` keeps everybody away until the object is gone.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

import structlog

from webhook_app.domain.errors import StorageError
from webhook_app.domain.keys import BLOBS, THUMBNAILS, digest_in
from webhook_app.flows import removal
from webhook_app.storage.port import Storage, StoredObject
from webhook_app.store import copies
from webhook_app.store.engine import Store

SLICE = 500
# Should whoever claimed an orphan die, a worker removes it after that.
ORPHAN_LEASE = timedelta(minutes=15)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Collected:
    """An object that belongs to no picture, and why it could not be removed: None where it is gone, or would be."""

    entry: StoredObject
    problem: str | None = None


def collect(
    store: Store, storage: Storage, *, before: datetime, dry_run: bool, clock: Callable[[], datetime]
) -> Iterator[Collected]:
    """Remove what no row names and was there before that instant, or only name it with `dry_run`; one that cannot be
    removed holds up no others. Raises `StorageError` where the archive cannot be listed."""
    for folder in (BLOBS, THUMBNAILS):
        after = None
        while page := storage.objects(folder, after=after, limit=SLICE):
            after = page[-1].key
            old = [entry for entry in page if entry.modified_at < before]
            for sha256, entries in groupby(_without_row(store, old), key=lambda entry: digest_in(entry.key)):
                if dry_run:
                    yield from map(Collected, entries)
                else:
                    yield from _remove(store, storage, sha256, list(entries), clock())


def collect_unreferenced(
    store: Store, storage: Storage, *, dry_run: bool, clock: Callable[[], datetime]
) -> removal.Removed:
    """Remove the bytes of rows that no picture refers to: of pictures that were erased, and of puts that nobody
    finished. Workers do the same, and go on with what could not be removed. With `dry_run` only counts them."""
    if dry_run:
        with store.reading() as connection:
            count = copies.count_unreferenced(connection, abandoned_before=clock() - removal.ABANDONED_AFTER)
        return removal.Removed(count, 0)
    total = removal.Removed(0, 0)
    while True:
        found = removal.remove_unreferenced(store, storage, clock=clock)
        total += found
        # A pass that removed nothing met nothing, or an archive that is away.
        if found.count == 0:
            return total


def _without_row(store: Store, entries: list[StoredObject]) -> list[StoredObject]:
    digests = {sha256 for entry in entries if (sha256 := digest_in(entry.key)) is not None}
    with store.reading() as connection:
        known = copies.known(connection, digests)
    return [entry for entry in entries if digest_in(entry.key) not in known]


def _remove(
    store: Store, storage: Storage, sha256: str | None, entries: list[StoredObject], now: datetime
) -> Iterator[Collected]:
    """`sha256` None: what is there has no name of ours, and no row can come to name it."""
    lease_until = now + ORPHAN_LEASE
    if sha256 is not None:
        with store.writing() as connection:
            if not copies.claim_orphan(connection, sha256, lease_until=lease_until, now=now):
                return
    # All of it before any is told: whoever reads it may take longer than the claim lasts.
    removed = [Collected(entry, _problem_of_deleting(storage, entry.key)) for entry in entries]
    if sha256 is not None:
        with store.writing() as connection:
            copies.forget_orphan(connection, sha256, lease_until=lease_until)
    yield from removed


def _problem_of_deleting(storage: Storage, key: str) -> str | None:
    try:
        storage.delete(key)
    except StorageError as error:
        log.warning("object.not_removed", key=key, error=str(error))
        return str(error)
    return None
