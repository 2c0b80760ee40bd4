"""Removing what lies in the archive and belongs to no picture: objects without a row, and bytes whose row no picture
refers to.

A put writes the row first, so an object without one was left behind. Between that look and the removal somebody might
put the same bytes: a row that says `deleting` keeps everybody away until the object is gone.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import groupby

from webhook_app.domain.keys import BLOBS, THUMBNAILS, digest_in
from webhook_app.flows import forget
from webhook_app.storage.port import Storage, StoredObject
from webhook_app.store import copies
from webhook_app.store.engine import Store

SLICE = 500


def collect(
    store: Store, storage: Storage, *, before: datetime, dry_run: bool, now: datetime
) -> Iterator[StoredObject]:
    """Remove what no row names and was there before that instant; gives each object that it removed, or would with
    `dry_run`. Raises `StorageError`."""
    for folder in (BLOBS, THUMBNAILS):
        after = None
        while page := storage.objects(folder, after=after, limit=SLICE):
            after = page[-1].key
            old = [entry for entry in page if entry.modified_at < before]
            for sha256, entries in groupby(_without_row(store, old), key=lambda entry: digest_in(entry.key)):
                if dry_run:
                    yield from entries
                else:
                    yield from _remove(store, storage, sha256, list(entries), now)


def collect_unreferenced(store: Store, storage: Storage, *, dry_run: bool, clock: Callable[[], datetime]) -> int:
    """Remove the bytes of rows that no picture refers to: of pictures that were erased, and of puts that nobody
    finished. Workers do the same. Returns how many there were, or are with `dry_run`. Raises `StorageError`."""
    if dry_run:
        with store.reading() as connection:
            return copies.count_unreferenced(connection, abandoned_before=clock() - forget.ABANDONED_AFTER)
    count = 0
    while removed := forget.remove_unreferenced(store, storage, clock=clock):
        count += removed
    return count


def _without_row(store: Store, entries: list[StoredObject]) -> list[StoredObject]:
    digests = {sha256 for entry in entries if (sha256 := digest_in(entry.key)) is not None}
    with store.reading() as connection:
        known = copies.known(connection, digests)
    return [entry for entry in entries if digest_in(entry.key) not in known]


def _remove(
    store: Store, storage: Storage, sha256: str | None, entries: list[StoredObject], now: datetime
) -> Iterator[StoredObject]:
    """`sha256` None: what is there has no name of ours, and no row can come to name it."""
    if sha256 is not None:
        with store.writing() as connection:
            if not copies.claim_orphan(connection, sha256, now=now):
                return
    try:
        for entry in entries:
            storage.delete(entry.key)
            yield entry
    finally:
        if sha256 is not None:
            with store.writing() as connection:
                copies.forget_orphan(connection, sha256)
