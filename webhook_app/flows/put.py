"""Putting a picture's bytes into the archive, so that they are there afterwards, whole, whatever lay in their place."""

import contextlib
from pathlib import Path

from webhook_app.domain.errors import NotAnObject, StorageError
from webhook_app.domain.keys import blob_key, thumbnail_key
from webhook_app.domain.media import THUMBNAIL_TYPE
from webhook_app.pictures.port import Inspected
from webhook_app.storage.port import Storage


def put(storage: Storage, key: str, path: Path, content_type: str) -> None:
    """What lies there already is compared, and replaced where it is not the same: it was altered since it was put.
    Raises `StorageError`."""
    with contextlib.suppress(NotAnObject):  # A link or a pipe in its place.
        if storage.put_if_absent(key, path, content_type) or _is_copy(storage, key, path):
            return
    storage.replace(key, path, content_type)


def _is_copy(storage: Storage, key: str, path: Path) -> bool:
    """False where it cannot be read, too: the good bytes are at hand."""
    try:
        if storage.size(key) != path.stat().st_size:
            return False
        with path.open("rb") as file:
            return all(chunk == file.read(len(chunk)) for chunk in storage.read(key)) and not file.read(1)
    except StorageError:
        return False


def put_picture(storage: Storage, inspected: Inspected) -> None:
    """The original bytes first: thumbnails can be made from them. Raises `StorageError`."""
    put(storage, blob_key(inspected.sha256), inspected.path, inspected.content_type)
    for size, path in inspected.thumbnails.items():
        put(storage, thumbnail_key(inspected.sha256, size), path, THUMBNAIL_TYPE)
