"""Reading our copies again: whether each object is there, whole and as its digest says, and mending what is not.

Bytes come back from the picture's source while that lives, and thumbnails from the bytes. What cannot be mended is said
of the pictures that show it. An altered object stays where it is until there is another to replace it: it may be all
that is left, though it is never shown.
"""

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import Row

from webhook_app.domain.errors import FetchError, NotAnObject, StorageError
from webhook_app.domain.keys import BLOBS, blob_key, thumbnail_key
from webhook_app.flows import archive, losing
from webhook_app.flows.policy import Policy
from webhook_app.net.port import Fetcher
from webhook_app.pictures.port import Inspected, Inspector
from webhook_app.storage.port import Storage
from webhook_app.store import copies
from webhook_app.store.engine import Store

PICTURES_NAMED = 100
SOURCES_TRIED = 10
ACTOR = "operator"


class Found(StrEnum):
    """How the copy of a picture's bytes was found."""

    SOUND = "sound"
    THUMBNAIL_MISSING = "thumbnail_missing"
    MISSING = "missing"
    ALTERED = "altered"
    # The archive works, but not for this object: no word on its bytes, which is no reason to give them up.
    UNREADABLE = "unreadable"


LOSSES = {Found.MISSING: losing.Loss.MISSING, Found.ALTERED: losing.Loss.ALTERED}


@dataclass(frozen=True, slots=True)
class Means:
    """What verifying works with; `by` stands in the events that it writes."""

    store: Store
    storage: Storage
    fetcher: Fetcher
    inspector: Inspector
    policy: Policy
    clock: Callable[[], datetime]
    by: str = ACTOR


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one blob, and whether it is sound now. `problem` says why it could not be mended. Of the
    `pictures` that show it the first hundred are named; `lost` counts those that are lost since now, `found_again`
    those that were lost and are not any more."""

    sha256: str
    outcome: Found
    repaired: bool
    problem: str | None
    pictures: int
    lost: int
    found_again: int
    track_ids: Sequence[str]
    image_ids: Sequence[str]

    @property
    def is_wrong(self) -> bool:
        return self.outcome is not Found.SOUND and not self.repaired


def count(store: Store) -> int:
    """How many blobs there are to verify."""
    with store.reading() as connection:
        return copies.count_stored(connection)


def slice_after(store: Store, cursor: str, *, limit: int) -> list[Row[Any]]:
    """The blobs behind the cursor (the digest of the last one, at first empty), by digest."""
    with store.reading() as connection:
        return copies.stored(connection, after=cursor, limit=limit)


def verify(means: Means, blob: Row[Any], *, repair: bool) -> Finding | None:
    """Read one copy again; None when it is as it should be, or was erased meanwhile. Without `repair` nothing is
    changed. Raises `StorageError` when the archive as a whole does not work."""
    found = _look(means.storage, blob)
    if found is Found.UNREADABLE:
        means.storage.check()
    if found is Found.SOUND and not (repair and blob.is_lost_somewhere):
        return None
    with means.store.reading() as connection:
        if not copies.is_stored(connection, blob.sha256):
            return None
        pictures = copies.count_shown_by(connection, blob.sha256)
        showing = copies.shown_by(connection, blob.sha256, limit=PICTURES_NAMED)
    problem, lost, again = _mend(means, blob, found, showing) if repair else ("not_tried", 0, 0)
    return Finding(
        sha256=blob.sha256,
        outcome=found,
        repaired=problem is None and found is not Found.SOUND,
        problem=problem,
        pictures=pictures,
        lost=lost,
        found_again=again,
        track_ids=sorted({row.track_id for row in showing}),
        image_ids=[row.image_id for row in showing],
    )


def _look(storage: Storage, blob: Row[Any]) -> Found:
    key = blob_key(blob.sha256)
    try:
        size = storage.size(key)
        if size is None:
            return Found.MISSING
        if size != blob.bytes or _digest(storage, key) != blob.sha256:
            return Found.ALTERED
        whole = all(_has_thumbnail(storage, blob.sha256, size) for size in blob.thumbnails)
        return Found.SOUND if whole else Found.THUMBNAIL_MISSING
    except NotAnObject:
        return Found.ALTERED
    except StorageError:
        return Found.UNREADABLE


def _digest(storage: Storage, key: str) -> str:
    digest = hashlib.sha256()
    for chunk in storage.read(key):
        digest.update(chunk)
    return digest.hexdigest()


def _has_thumbnail(storage: Storage, sha256: str, size: int) -> bool:
    try:
        return bool(storage.size(thumbnail_key(sha256, size)))
    except NotAnObject:
        return False


def _mend(means: Means, blob: Row[Any], found: Found, showing: list[Row[Any]]) -> tuple[str | None, int, int]:
    """Why the copy could not be mended (None: it is sound now), how many pictures are lost by that, and how many are
    not lost any more."""
    living = _living_sources(showing, means.clock())
    allowed = [source for row, source in living if source in archive.fetchable(row, means.policy)]
    sources = list(dict.fromkeys(allowed))[:SOURCES_TRIED]
    problem = None
    if found is not Found.SOUND:
        with tempfile.TemporaryDirectory(prefix="webhook-app-") as folder:
            try:
                problem = _mend_in(means, blob, found, sources, Path(folder))
            except StorageError as error:
                problem = str(error)
    if problem is None:
        again = losing.find_again(means.store, blob.sha256, by=means.by, now=means.clock())
        return None, 0, again
    # A source that lives may still give the bytes, at the next verification: one that may not be asked now, too.
    if found not in LOSSES or living or not _has_anything(means.storage):
        return problem, 0, 0
    return problem, losing.lose(means.store, blob.sha256, LOSSES[found], by=means.by, now=means.clock()), 0


def _has_anything(storage: Storage) -> bool:
    """An archive that holds nothing at all is rather another one, or not mounted, than lost."""
    return bool(storage.objects(BLOBS, limit=1))


def _living_sources(showing: list[Row[Any]], now: datetime) -> list[tuple[Row[Any], str]]:
    """Where the bytes may still be had, for each picture the address that gave them first; what came inline never
    dies."""
    found = []
    for row in showing:
        alive = row.source_expires_at is not None and row.source_expires_at > now
        named = dict.fromkeys([row.source_url, *row.sources] if row.source_url else row.sources)
        found += [(row, source) for source in named if alive or source.startswith("data:")]
    return found


def _mend_in(means: Means, blob: Row[Any], found: Found, sources: list[str], folder: Path) -> str | None:
    if found is Found.THUMBNAIL_MISSING:
        path = folder / "copy"
        with path.open("wb") as sink:
            sink.writelines(means.storage.read(blob_key(blob.sha256)))
        try:
            inspected = means.inspector.inspect(path, base64_text=False)
        except FetchError as error:
            return error.reason
    else:
        got = _from_sources(means, blob.sha256, sources, folder)
        if isinstance(got, str):
            return got
        inspected = got
        _replace(means.storage, blob_key(blob.sha256), inspected.path, inspected.content_type)
    for size, thumbnail in inspected.thumbnails.items():
        if size in blob.thumbnails and not _has_thumbnail(means.storage, blob.sha256, size):
            _replace(means.storage, thumbnail_key(blob.sha256, size), thumbnail, "image/webp")
    if _was_erased(means, blob):
        return "erased_meanwhile"
    return None if _look(means.storage, blob) is Found.SOUND else "still_not_sound"


def _from_sources(means: Means, sha256: str, sources: list[str], folder: Path) -> Inspected | str:
    """The picture with this digest, or why none of the sources gave it."""
    problem = "no_source_to_ask"
    for n, source in enumerate(sources):
        try:
            inspected = archive.fetch(means.fetcher, means.inspector, source, folder / f"fetched-{n}")
        except FetchError as error:
            problem = error.reason
            continue
        if inspected.sha256 == sha256:
            return inspected
        problem = "source_gives_other_bytes"
    return problem


def _replace(storage: Storage, key: str, path: Path, content_type: str) -> None:
    """The good bytes are at hand, so that nothing is lost between the two."""
    storage.delete(key)
    storage.put_if_absent(key, path, content_type)


def _was_erased(means: Means, blob: Row[Any]) -> bool:
    """Whether somebody erased these bytes while we put them back; then they are taken away again. Whoever begins to
    erase after this look deletes after our put."""
    with means.store.reading() as connection:
        if copies.is_stored(connection, blob.sha256):
            return False
    for key in (blob_key(blob.sha256), *(thumbnail_key(blob.sha256, size) for size in blob.thumbnails)):
        means.storage.delete(key)
    return True
