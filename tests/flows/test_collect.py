"""Tidying the archive: what belongs to no picture goes, what does or may yet stays."""

import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.flows.keeper import ONE, Keeper, png
from tests.store import rows
from webhook_app.domain.errors import StorageError
from webhook_app.domain.keys import blob_key, digest_in, thumbnail_key
from webhook_app.flows import archive
from webhook_app.flows.collect import collect, collect_unreferenced
from webhook_app.storage.local import LocalStorage
from webhook_app.store.tables import Blob

DAY = timedelta(days=1)
STRANGER = "ab" * 32


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the archive's files lie."""
    return tmp_path / "archive"


def left(root: Path, key: str, *, hours_ago: float, content: bytes = b"x") -> None:
    """A file that somebody left in the archive."""
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    at = (datetime.now(UTC) - timedelta(hours=hours_ago)).timestamp()
    os.utime(path, (at, at))


def aged(root: Path, *, hours_ago: float) -> None:
    """Everything that is there, as if it had been put so long ago."""
    at = (datetime.now(UTC) - timedelta(hours=hours_ago)).timestamp()
    for path in root.rglob("*"):
        if path.is_file():
            os.utime(path, (at, at))


def collected(keeper: Keeper, *, dry_run: bool = False) -> list[str]:
    now = datetime.now(UTC)
    store, storage = keeper.world.store, keeper.storage
    found = collect(store, storage, before=now - DAY, dry_run=dry_run, clock=lambda: now)
    return [each.entry.key for each in found if each.problem is None]


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_only_what_is_old_and_belongs_to_no_picture_goes(keeper: Keeper, root: Path) -> None:
    keeper.web.serve(ONE, png())
    keeper.succeeded()
    keeper.tick()
    aged(root, hours_ago=1000)
    ours = files(root)
    orphans = {blob_key(STRANGER), thumbnail_key(STRANGER, 128), thumbnail_key(STRANGER, 512)}
    strays = {"blobs/notes.txt", f"blobs/00/00/{STRANGER}", "blobs/zz/zz/zzzz"}
    for key in orphans | strays:
        left(root, key, hours_ago=25)
    left(root, blob_key("cd" * 32), hours_ago=23)
    left(root, "heads/00000001.json", hours_ago=1000)
    everything = files(root)
    assert set(collected(keeper, dry_run=True)) == orphans | strays
    assert files(root) == everything
    assert set(collected(keeper)) == orphans | strays
    assert files(root) == ours | {blob_key("cd" * 32), "heads/00000001.json"}
    assert collected(keeper) == []
    assert [blob.state for blob in keeper.world.rows(Blob)] == ["stored"]


def test_more_than_a_slice_is_collected(keeper: Keeper, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhook_app.flows.collect.SLICE", 2)
    for n in range(5):
        left(root, blob_key(f"{n:064x}"), hours_ago=25)
        left(root, thumbnail_key(f"{n:064x}", 128), hours_ago=25)
    assert len(collected(keeper)) == 10
    assert files(root) == set()


def test_bytes_that_are_put_while_they_are_collected_are_put_again(keeper: Keeper, root: Path) -> None:
    """An orphan with the very bytes that an archiver brings just now: it waits, and then puts its own."""
    keeper.web.serve(ONE, png())
    track_id = keeper.succeeded()
    digest = hashlib.sha256(png()).hexdigest()
    left(root, blob_key(digest), hours_ago=25, content=png())
    (claim,) = keeper.claim()

    class Meeting(LocalStorage):
        def delete(self, key: str) -> None:
            """Just before the object goes, the archiver comes."""
            archive.archive_one(
                keeper.world.store,
                fetcher=keeper.web,
                inspector=keeper.inspector,
                storage=working,
                claim=claim,
                clock=keeper.world.now,
            )
            super().delete(key)

    working, keeper.storage = keeper.storage, Meeting(root)
    assert collected(keeper) == [blob_key(digest)]
    image = keeper.world.images(track_id)[0]
    assert (image.status, image.reason) == ("pending", "archive_unavailable")
    keeper.storage = working
    keeper.world.later(seconds=31)
    keeper.tick()
    assert keeper.world.images(track_id)[0].status == "archived"
    assert b"".join(working.read(blob_key(digest))) == png()


def test_what_cannot_be_removed_is_not_forgotten(keeper: Keeper, root: Path) -> None:
    class Stuck(LocalStorage):
        def delete(self, key: str) -> None:
            raise StorageError("read-only file system")

    left(root, blob_key(STRANGER), hours_ago=25)
    working, keeper.storage = keeper.storage, Stuck(root)
    assert collected(keeper) == []
    assert keeper.world.rows(Blob) == []
    keeper.storage = working
    assert collected(keeper) == [blob_key(STRANGER)]


def test_copies_that_no_picture_refers_to_go_and_what_is_being_put_stays(keeper: Keeper, root: Path) -> None:
    keeper.web.serve(ONE, png())
    keeper.succeeded()
    keeper.tick()
    ours, world = files(root), keeper.world
    for state, digest, minutes in (("deleting", "aa", 0), ("putting", "bb", 11), ("putting", "cc", 9)):
        left(root, blob_key(digest * 32), hours_ago=0)
        row = rows.blob(sha256=digest * 32, state=state, created_at=world.at - timedelta(minutes=minutes))
        with world.store.writing() as connection:
            rows.add(connection, Blob, row)

    def removed(*, dry_run: bool) -> int:
        return collect_unreferenced(world.store, keeper.storage, dry_run=dry_run, clock=world.now).count

    assert removed(dry_run=True) == 2
    assert len(files(root)) == len(ours) + 3
    assert [removed(dry_run=False), removed(dry_run=False)] == [2, 0]
    assert files(root) == ours | {blob_key("cc" * 32)}
    assert sorted(blob.state for blob in world.rows(Blob)) == ["putting", "stored"]


@pytest.mark.parametrize(
    "key",
    ["blobs", "blobs/ab", f"blobs/{STRANGER}", f"blobs/ab/ab/{STRANGER}-128.webp", f"thumbnails/ab/ab/{STRANGER}"],
)
def test_only_our_own_names_hold_a_digest(key: str) -> None:
    assert digest_in(key) is None
    assert digest_in(blob_key(STRANGER)) == digest_in(thumbnail_key(STRANGER, 256)) == STRANGER
