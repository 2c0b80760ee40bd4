"""Mending a copy that is not as it should be: from the picture's source while that lives, thumbnails from the bytes.

What cannot be mended is said of the pictures that show it. An altered object stays where it is until there is another
to replace it: it may be all that is left, though it is never shown. While bytes are being mended their row is held, so
that nobody removes them between two steps, and nobody else mends them.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Row

from webhook_app.domain.errors import FetchError, StorageError
from webhook_app.domain.keys import BLOBS, blob_key, thumbnail_key
from webhook_app.flows import archive, losing
from webhook_app.flows.look import GONE, OF_THUMBNAILS, Found, Means, look
from webhook_app.flows.put import put, put_thumbnails
from webhook_app.flows.workspace import workspace
from webhook_app.pictures.port import NO_DISK, Inspected
from webhook_app.storage.port import Storage
from webhook_app.store import blobs, copies

SOURCES_TRIED = 10
# Longer than the sources and the puts together may take.
HELD = timedelta(minutes=15)
FETCH_FOR_S = 300.0
LOSSES = {Found.MISSING: losing.Loss.MISSING, Found.ALTERED: losing.Loss.ALTERED}
HELD_BY_OTHERS = "held_by_another"
ERASED = "erased_meanwhile"


@dataclass(frozen=True, slots=True)
class Mended:
    """`outcome` is how the copy was found once it was held, `problem` why it could not be mended (None: it is sound
    now); how many pictures are lost by that, and how many are not lost any more."""

    outcome: Found
    problem: str | None
    lost: int = 0
    found_again: int = 0


def mend(means: Means, sha256: str, found: Found, showing: list[Row[Any]]) -> Mended:
    """Mend the bytes that these pictures show. Raises `StorageError` when the archive as a whole does not work."""
    with _held(means, sha256) as held:
        if held is None:
            return Mended(found, HELD_BY_OTHERS)
        blob, until = held
        # Looked at again: others may have mended, replaced or restored it until we had it.
        found = look(means.storage, blob)
        living = _living_sources(showing, means.clock())
        problem = None if found is Found.SOUND else _mended(means, blob, found, _allowed(means, living), until)
        if problem is None:
            return Mended(found, None, found_again=_found_again(means, sha256))
        # A source that lives may still give the bytes, at the next verification: one that may not be asked now, too.
        if found not in GONE or living or problem in {ERASED, NO_DISK}:
            return Mended(found, problem)
        found = look(means.storage, blob)
        if found not in GONE or not _has_anything(means.storage):
            return Mended(found, None if found is Found.SOUND else problem)
        loss, now = LOSSES[found], means.clock()
        return Mended(found, problem, lost=losing.lose(means.store, sha256, loss, held=until, by=means.by, now=now))


@contextlib.contextmanager
def _held(means: Means, sha256: str) -> Iterator[tuple[Row[Any], datetime] | None]:
    """The row of these bytes as it is now, and until when it is ours; None when it cannot be."""
    now = means.clock()
    until = now + HELD
    with means.store.writing() as connection:
        blob = copies.hold(connection, sha256, until=until, now=now)
    if blob is None:
        yield None
        return
    try:
        yield blob, until
    finally:
        with means.store.writing() as connection:
            copies.let_off(connection, sha256, until=until)


def _found_again(means: Means, sha256: str) -> int:
    return losing.find_again(means.store, sha256, by=means.by, now=means.clock())


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


def _allowed(means: Means, living: list[tuple[Row[Any], str]]) -> list[str]:
    allowed = [source for row, source in living if source in archive.fetchable(row, means.policy)]
    return list(dict.fromkeys(allowed))[:SOURCES_TRIED]


def _mended(means: Means, blob: Row[Any], found: Found, sources: list[str], until: datetime) -> str | None:
    """Put back what is missing or wrong; why it could not be, or None."""
    try:
        with workspace() as folder:
            is_whole = found in OF_THUMBNAILS
            got = _from_copy(means, blob, folder) if is_whole else _from_sources(means, blob, sources, folder)
            if isinstance(got, str):
                return got
            return _put_back(means, blob, found, got, until)
    except StorageError as error:
        return str(error)
    except OSError:
        return NO_DISK  # No room for the work itself.


def _from_copy(means: Means, blob: Row[Any], folder: Path) -> Inspected | str:
    path = folder / "copy"
    with path.open("wb") as sink:
        sink.writelines(means.storage.read(blob_key(blob.sha256)))
    try:
        return means.inspector.inspect(path, base64_text=False)
    except FetchError as error:
        return error.reason


def _from_sources(means: Means, blob: Row[Any], sources: list[str], folder: Path) -> Inspected | str:
    """The picture with this digest, or why none of the sources gave it."""
    problem, until = "no_source_to_ask", time.monotonic() + FETCH_FOR_S
    for n, source in enumerate(sources):
        if time.monotonic() > until:
            return problem
        try:
            inspected = archive.fetch(means.fetcher, means.inspector, source, folder / f"fetched-{n}")
        except FetchError as error:
            problem = error.reason
            continue
        if inspected.sha256 == blob.sha256:
            return inspected
        problem = "source_gives_other_bytes"
    return problem


def _put_back(means: Means, blob: Row[Any], found: Found, inspected: Inspected, until: datetime) -> str | None:
    if found not in OF_THUMBNAILS:
        key, path = blob_key(blob.sha256), inspected.path
        put(means.storage, key, path, inspected.content_type, sha256=blob.sha256)
    put_thumbnails(means.storage, inspected, blob.thumbnails)
    with means.store.writing() as connection:
        copies.note_thumbnails(connection, blob.sha256, inspected.thumbnail_sha256)
        stored = copies.get(connection, blob.sha256)
    if stored is None:
        _take_away(means, blob, until)
        return ERASED
    return None if look(means.storage, stored) is Found.SOUND else "still_not_sound"


def _take_away(means: Means, blob: Row[Any], until: datetime) -> None:
    """These bytes were erased meanwhile: whoever removes them waited for us. Only if we were stopped for longer than we
    had them is that over, and there is no row, or another one; then somebody puts or removes them, and they are his."""
    now = means.clock()
    with means.store.writing() as connection:
        claimed = copies.claim_orphan(connection, blob.sha256, lease_until=now + HELD, now=now)
        if not claimed:
            copies.let_off(connection, blob.sha256, until=until)
            blobs.remove_again(connection, blob.sha256)
            return
    try:
        for key in (blob_key(blob.sha256), *(thumbnail_key(blob.sha256, size) for size in blob.thumbnails)):
            means.storage.delete(key)
    finally:
        with means.store.writing() as connection:
            copies.forget_orphan(connection, blob.sha256, lease_until=now + HELD)
