"""Putting a picture's bytes into the archive, so that they are there afterwards, whole, whatever lay in their place."""

import contextlib
from collections.abc import Iterable
from pathlib import Path

from webhook_app.domain.errors import NotAnObject, StorageError
from webhook_app.domain.keys import blob_key, thumbnail_key
from webhook_app.domain.media import THUMBNAIL_TYPE
from webhook_app.flows.look import digest_of
from webhook_app.pictures.port import Inspected
from webhook_app.storage.port import Storage


def put(storage: Storage, key: str, path: Path, content_type: str, *, sha256: str) -> None:
    """The file has this digest. What lies there already is read, and replaced where it has another: it was altered
    since it was put. Raises `StorageError`."""
    with contextlib.suppress(NotAnObject):  # A link or a pipe in its place.
        if storage.put_if_absent(key, path, content_type) or _is_there(storage, key, path.stat().st_size, sha256):
            return
    storage.replace(key, path, content_type)


def _is_there(storage: Storage, key: str, size: int, sha256: str) -> bool:
    """False where it cannot be read, too: the good bytes are at hand."""
    try:
        return storage.size(key) == size and digest_of(storage, key) == sha256
    except StorageError:
        return False


def put_picture(storage: Storage, inspected: Inspected) -> None:
    """The original bytes first: thumbnails can be made from them. Raises `StorageError`."""
    put(storage, blob_key(inspected.sha256), inspected.path, inspected.content_type, sha256=inspected.sha256)
    put_thumbnails(storage, inspected, inspected.thumbnails)


def put_thumbnails(storage: Storage, inspected: Inspected, sizes: Iterable[int]) -> None:
    """Those of these sizes that there are. Raises `StorageError`."""
    for size in inspected.thumbnails.keys() & set(sizes):
        key, digest = thumbnail_key(inspected.sha256, size), inspected.thumbnail_sha256[str(size)]
        put(storage, key, inspected.thumbnails[size], THUMBNAIL_TYPE, sha256=digest)
