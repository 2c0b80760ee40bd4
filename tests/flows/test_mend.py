"""Mending while others do something to the same bytes, and when there is no room: nothing good is removed, nothing that
is there is called lost."""

import errno
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from tests.flows.keeper import ONE, TWO, Keeper, png
from tests.flows.test_decoder_faults import Acting
from tests.flows.test_verify import archived, one_bit_flipped, removed, statuses, verified
from webhook_app.domain.errors import StorageError
from webhook_app.domain.keys import blob_key, thumbnail_key
from webhook_app.flows import mend
from webhook_app.flows.look import Found
from webhook_app.pictures.port import Inspected
from webhook_app.storage.local import LocalStorage
from webhook_app.store.tables import Blob, Image


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the archive's files lie."""
    return tmp_path / "archive"


class Meeting(LocalStorage):
    """A directory to which somebody comes once, right before an act on an object."""

    def __init__(self, root: Path, act: str, key: str, meanwhile: Callable[[], object]) -> None:
        super().__init__(root)
        self._act, self._key, self._meanwhile = act, key, meanwhile

    def _meet(self, act: str, key: str) -> None:
        if (act, key) == (self._act, self._key):
            self._act = ""
            self._meanwhile()

    def size(self, key: str) -> int | None:
        self._meet("size", key)
        return super().size(key)

    def put_if_absent(self, key: str, source: Path, content_type: str) -> bool:
        self._meet("put", key)
        return super().put_if_absent(key, source, content_type)

    def replace(self, key: str, source: Path, content_type: str) -> None:
        self._meet("put", key)
        super().replace(key, source, content_type)


def test_two_who_verify_at_once_do_not_mend_the_same_bytes(keeper: Keeper, root: Path) -> None:
    _, sha256 = archived(keeper)
    (root / blob_key(sha256)).unlink()
    second: list[Any] = []

    def also() -> None:
        keeper.web.during = None
        second.extend(verified(keeper))

    keeper.web.during = also
    (first,) = verified(keeper)
    assert (first.repaired, first.problem) == (True, None)
    assert [(f.repaired, f.problem, f.lost) for f in second] == [(False, mend.HELD_BY_OTHERS, 0)]
    assert verified(keeper) == []


def test_bytes_that_came_back_until_the_verdict_are_not_lost(keeper: Keeper, root: Path) -> None:
    """An operator restores the file between the first look and the last."""
    track_id, sha256 = archived(keeper)
    archived(keeper, "green")
    path = root / blob_key(sha256)
    path.rename(root / "aside")
    keeper.world.later(hours=25)

    def restored() -> None:
        (root / "aside").rename(path)

    looks = iter([lambda: None, restored])
    keeper.storage = Meeting(root, "size", blob_key(sha256), lambda: None)
    keeper.storage._meet = lambda act, key: next(looks, lambda: None)() if key == blob_key(sha256) else None
    assert verified(keeper) == []
    assert statuses(keeper, track_id)[1] == "archived"
    assert "job.archive_failed" not in keeper.world.events(track_id)


def test_a_picture_that_brings_the_bytes_again_meanwhile_is_not_lost_by_an_old_look(
    keeper: Keeper, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the very last look: the row tells that somebody has put them since."""
    track_id, sha256 = archived(keeper)
    archived(keeper, "green")
    (root / blob_key(sha256)).unlink()
    keeper.world.later(hours=25)
    looked, come = mend.look, iter([False, True])
    others: list[str] = []

    def look(storage: Any, blob: Any) -> Found:
        found = looked(storage, blob)
        if blob.sha256 == sha256 and next(come, False):
            keeper.web.serve(TWO, png("red"))
            others.append(keeper.succeeded(TWO))
            keeper.tick()
        return found

    monkeypatch.setattr(mend, "look", look)
    (finding,) = verified(keeper)
    assert (finding.outcome, finding.lost) == (Found.MISSING, 0)
    assert statuses(keeper, track_id) == statuses(keeper, others[0]) == ([("archived", None)], "archived")
    assert verified(keeper) == []


@pytest.mark.parametrize("damage", [removed, one_bit_flipped])
def test_a_picture_with_the_same_bytes_mends_them(keeper: Keeper, root: Path, damage: Callable[[Path], None]) -> None:
    """Whoever puts bytes compares what lies there: a size, and then every byte."""
    _, sha256 = archived(keeper)
    damage(root / blob_key(sha256))
    damage(root / thumbnail_key(sha256, 128))
    archived(keeper)
    assert (root / blob_key(sha256)).read_bytes() == png("red")
    assert verified(keeper) == []
    assert [blob.reference_count for blob in keeper.world.rows(Blob)] == [2]


def test_good_bytes_are_not_replaced_by_ones_that_went_bad_on_their_way(keeper: Keeper, root: Path) -> None:
    """The working folder's disk alters the file between its hashing and its put."""
    _, sha256 = archived(keeper)

    def spoiled(path: Path, *, base64_text: bool) -> Inspected:
        inspected = inspector.inspect(path, base64_text=base64_text)
        one_bit_flipped(inspected.path)
        return inspected

    inspector, keeper.inspector = keeper.inspector, Acting(spoiled)
    archived(keeper)
    assert (root / blob_key(sha256)).read_bytes() == png("red")


def test_a_link_in_a_picture_s_place_does_not_keep_it_out(keeper: Keeper, root: Path, tmp_path: Path) -> None:
    _, sha256 = archived(keeper)
    path, other = root / blob_key(sha256), tmp_path / "other"
    path.rename(other)
    path.symlink_to(other)
    archived(keeper)
    assert (path.is_symlink(), path.read_bytes()) == (False, png("red"))


def test_the_good_bytes_are_there_at_every_moment(keeper: Keeper, root: Path) -> None:
    """A picture is served while it is mended: an altered thumbnail gives way to a sound one, never to nothing."""
    _, sha256 = archived(keeper)
    path = root / thumbnail_key(sha256, 256)
    one_bit_flipped(path)
    seen: list[bool] = []
    keeper.storage = Meeting(root, "put", thumbnail_key(sha256, 512), lambda: seen.append(path.exists()))
    working = LocalStorage(root)

    def delete(key: str) -> None:
        raise AssertionError(f"{key} must not be removed")

    keeper.storage.delete = delete
    assert [finding.repaired for finding in verified(keeper)] == [True]
    keeper.storage = working
    assert seen == [True]


def test_an_object_that_cannot_be_read_is_replaced_from_its_source(keeper: Keeper, root: Path) -> None:
    """A bad sector: the archive works, but not for this file."""

    class BadSector(LocalStorage):
        bad = True

        def read(self, key: str, start: int = 0, length: int | None = None):  # type: ignore[no-untyped-def]
            if self.bad and key == blob_key(sha256):
                raise StorageError("input/output error")
            return super().read(key, start, length)

        def replace(self, key: str, source: Path, content_type: str) -> None:
            super().replace(key, source, content_type)
            self.bad = self.bad and key != blob_key(sha256)

    _, sha256 = archived(keeper)
    keeper.storage = BadSector(root)
    (finding,) = verified(keeper)
    assert (finding.outcome, finding.repaired) == (Found.UNREADABLE, True)


def test_a_full_temporary_disk_loses_nothing_and_the_next_ones_are_verified(
    keeper: Keeper, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = sorted(archived(keeper, colour)[1] for colour in ("red", "green", "blue"))
    (root / blob_key(digests[0])).unlink()
    (root / thumbnail_key(digests[1], 256)).unlink()
    keeper.world.later(hours=25)
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
        found = {finding.sha256: finding for finding in verified(keeper)}
    assert {sha256: finding.problem for sha256, finding in found.items()} == dict.fromkeys(
        digests[:2], "disk_unavailable"
    )
    assert [finding.lost for finding in found.values()] == [0, 0]
    assert [row.status for row in keeper.world.rows(Image)] == ["archived"] * 3


def test_a_disk_that_fills_up_while_a_source_is_read_is_told(keeper: Keeper, root: Path) -> None:
    _, sha256 = archived(keeper)
    (root / blob_key(sha256)).unlink()
    keeper.web.serve(ONE, OSError(errno.ENOSPC, "No space left on device"), png("red"))
    assert [(f.repaired, f.problem) for f in verified(keeper)] == [(False, "disk_unavailable")]
    assert [finding.repaired for finding in verified(keeper)] == [True]


def test_thumbnails_without_a_record_are_made_again_once(keeper: Keeper) -> None:
    """Rows of an older release have none."""
    archived(keeper)
    with keeper.world.store.writing() as connection:
        connection.execute(update(Blob).values(thumbnail_sha256=None))
    assert [(f.outcome, f.repaired) for f in verified(keeper)] == [(Found.THUMBNAIL_ALTERED, True)]
    assert verified(keeper) == []
