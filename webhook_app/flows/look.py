"""How the copy of a picture's bytes is found in the archive: every byte is read."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Row

from webhook_app.domain.errors import NotAnObject, StorageError
from webhook_app.domain.keys import blob_key, thumbnail_key
from webhook_app.flows.policy import Policy
from webhook_app.net.port import Fetcher
from webhook_app.pictures.port import Inspector
from webhook_app.storage.port import Storage
from webhook_app.store.engine import Store

OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Means:
    """What verifying works with; `by` stands in the events that it writes."""

    store: Store
    storage: Storage
    fetcher: Fetcher
    inspector: Inspector
    policy: Policy
    clock: Callable[[], datetime]
    by: str = OPERATOR


class Found(StrEnum):
    """How a copy was found. Of several faults the first one of these is told."""

    SOUND = "sound"
    MISSING = "missing"
    ALTERED = "altered"
    THUMBNAIL_MISSING = "thumbnail_missing"
    # Other bytes than on record, or there is no record of what they were.
    THUMBNAIL_ALTERED = "thumbnail_altered"
    # The archive works, but not for this object: no word on its bytes, which is no reason to give them up.
    UNREADABLE = "unreadable"


GONE = frozenset({Found.MISSING, Found.ALTERED})
OF_THUMBNAILS = frozenset({Found.THUMBNAIL_MISSING, Found.THUMBNAIL_ALTERED})


def look(storage: Storage, blob: Row[Any]) -> Found:
    """What became of these bytes and their thumbnails."""
    try:
        size = storage.size(blob_key(blob.sha256))
        if size is None:
            return Found.MISSING
        if size != blob.bytes or digest_of(storage, blob_key(blob.sha256)) != blob.sha256:
            return Found.ALTERED
    except NotAnObject:
        return Found.ALTERED
    except StorageError:
        return Found.UNREADABLE
    return _look_at_thumbnails(storage, blob)


def _look_at_thumbnails(storage: Storage, blob: Row[Any]) -> Found:
    recorded = blob.thumbnail_sha256 or {}
    try:
        for size in blob.thumbnails:
            key = thumbnail_key(blob.sha256, size)
            if storage.size(key) is None:
                return Found.THUMBNAIL_MISSING
            if digest_of(storage, key) != recorded.get(str(size)):
                return Found.THUMBNAIL_ALTERED
    except StorageError:
        return Found.THUMBNAIL_ALTERED  # Whatever is wrong with it, it can be made again from the bytes.
    return Found.SOUND


def digest_of(storage: Storage, key: str) -> str:
    """The SHA-256 of an object, every byte of it read. Raises `StorageError`."""
    digest = hashlib.sha256()
    for chunk in storage.read(key):
        digest.update(chunk)
    return digest.hexdigest()
