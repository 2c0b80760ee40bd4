"""What lies in the archive and belongs to no picture: a put writes its row first, so an object without one was left
behind. It is only found here."""

from collections.abc import Iterator
from datetime import datetime

from webhook_app.domain.errors import NotAnObject
from webhook_app.domain.keys import BLOBS, THUMBNAILS, digest_in, listed_after
from webhook_app.storage.port import Storage, StoredObject
from webhook_app.store import copies
from webhook_app.store.engine import Store

PAGE = 500


def orphans(
    store: Store, storage: Storage, *, after: str = "", until: str | None = None, before: datetime
) -> Iterator[StoredObject]:
    """Objects that no row names and that were there before that instant, of the digests behind `after` up to and with
    `until` (None: to the end). What has no name of ours is found where it would stand among the digests. Raises
    `StorageError`."""
    for folder in (BLOBS, THUMBNAILS):
        start, end = listed_after(folder, after), None if until is None else listed_after(folder, until)
        while page := storage.objects(folder, after=start, limit=PAGE):
            start = page[-1].key
            wanted = [entry for entry in page if end is None or entry.key <= end]
            yield from _without_row(store, storage, [entry for entry in wanted if entry.modified_at < before])
            if len(wanted) < len(page):
                break


def _without_row(store: Store, storage: Storage, entries: list[StoredObject]) -> Iterator[StoredObject]:
    digests = {sha256 for entry in entries if (sha256 := digest_in(entry.key)) is not None}
    with store.reading() as connection:
        known = copies.known(connection, digests)
    for entry in entries:
        # Looked at after the row: one that is being removed loses its object first.
        if digest_in(entry.key) not in known and _is_there(storage, entry.key):
            yield entry


def _is_there(storage: Storage, key: str) -> bool:
    try:
        return storage.size(key) is not None
    except NotAnObject:
        return True
