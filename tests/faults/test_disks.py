"""The archive on disks that break and fill up (F10, F11): the kernel itself refuses, and no row says archived of what
is not there."""

import errno
import os
import tempfile
from pathlib import Path

import pytest

from tests.faults.kernel import failing, on_a_small_disk
from tests.flows.keeper import ONE, TWO, Keeper, png
from tests.flows.test_verify import one_bit_flipped
from tests.flows.world import World
from webhook_app.domain.errors import StorageError
from webhook_app.domain.keys import blob_key, thumbnail_key
from webhook_app.pictures.inspect import PictureInspector
from webhook_app.storage.local import LocalStorage
from webhook_app.store.engine import Store
from webhook_app.store.tables import Blob

KEY = "blobs/ab/cd/abcdef"
# Noise does not compress: a picture of a quarter of a megabyte.
LARGE = 250_000


class Failing(LocalStorage):
    """A directory on a disk that refuses one kind of system call while it is broken."""

    def __init__(self, root: Path, call: str, number: int) -> None:
        super().__init__(root)
        self._call, self._number, self.broken = call, number, True

    def put_if_absent(self, key: str, source: Path, content_type: str) -> bool:
        if not self.broken:
            return super().put_if_absent(key, source, content_type)
        return failing(self._call, self._number, lambda: LocalStorage.put_if_absent(self, key, source, content_type))

    def replace(self, key: str, source: Path, content_type: str) -> None:
        if not self.broken:
            return super().replace(key, source, content_type)
        return failing(self._call, self._number, lambda: LocalStorage.replace(self, key, source, content_type))


@pytest.fixture
def keeper(store: Store, tmp_path: Path) -> Keeper:
    made = PictureInspector(max_bytes=1_000_000)
    yield Keeper(World(store), LocalStorage(tmp_path / "archive"), made)
    made.close()


def objects(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def noise() -> bytes:
    """A whole picture with so much behind it that it is large."""
    return png("red") + os.urandom(LARGE)


FAULTS = [("fsync", errno.EIO), ("write", errno.EIO), ("write", errno.ENOSPC), ("link", errno.EIO)]


@pytest.mark.parametrize(("call", "number"), FAULTS, ids=lambda value: str(value))
def test_a_disk_that_fails_leaves_the_picture_pending(keeper: Keeper, tmp_path: Path, call: str, number: int) -> None:
    storage = keeper.storage = Failing(tmp_path / "archive", call, number)
    track_id = keeper.succeeded()
    keeper.web.serve(ONE, png())
    keeper.tick()
    (image,) = keeper.world.images(track_id)
    assert (image.status, image.reason, image.sha256) == ("pending", "archive_unavailable", None)
    assert [(blob.state, blob.reference_count) for blob in keeper.world.rows(Blob)] == [("putting", 0)]
    assert objects(tmp_path / "archive") == []
    storage.broken = False
    keeper.world.later(seconds=16)
    keeper.tick()
    (image,) = keeper.world.images(track_id)
    assert image.status == "archived"
    assert b"".join(storage.read(blob_key(image.sha256))) == png()


@pytest.mark.parametrize(("call", "number"), [*FAULTS[:3], ("rename", errno.EIO)], ids=lambda value: str(value))
def test_a_disk_that_fails_leaves_what_was_to_be_replaced(tmp_path: Path, call: str, number: int) -> None:
    storage = Failing(tmp_path / "archive", call, number)
    source = tmp_path / "source"
    source.write_bytes(b"old")
    storage.broken = False
    storage.replace(KEY, source, "image/png")
    source.write_bytes(b"new")
    storage.broken = True
    with pytest.raises(StorageError, match=os.strerror(number)):
        storage.replace(KEY, source, "image/png")
    assert b"".join(storage.read(KEY)) == b"old"
    assert objects(tmp_path / "archive") == [KEY]


def test_a_full_archive_takes_what_has_room_and_the_rest_when_there_is_more(keeper: Keeper, tmp_path: Path) -> None:
    root = tmp_path / "archive"
    root.mkdir()
    large, small = noise(), png("blue")
    keeper.web.serve(ONE, large)
    keeper.web.serve(TWO, small)
    one, two = keeper.succeeded(ONE), keeper.succeeded(TWO)

    def run(resize) -> None:  # type: ignore[no-untyped-def]
        keeper.tick()
        assert keeper.world.images(one)[0].reason == "archive_unavailable"
        shown = keeper.world.images(two)[0]
        assert shown.status == "archived"
        names = [blob_key(shown.sha256), *(thumbnail_key(shown.sha256, size) for size in (128, 256, 512))]
        assert objects(root) == sorted(names)
        resize("4m")
        keeper.world.later(seconds=16)
        keeper.tick()
        shown = keeper.world.images(one)[0]
        assert shown.status == "archived"
        assert b"".join(keeper.storage.read(blob_key(shown.sha256))) == large

    on_a_small_disk(root, "100k", run)


def test_a_full_temporary_directory_is_waited_for(
    keeper: Keeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    keeper.web.serve(ONE, noise())
    track_id = keeper.succeeded()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))

    def run(resize) -> None:  # type: ignore[no-untyped-def]
        keeper.tick()
        (image,) = keeper.world.images(track_id)
        assert (image.status, image.reason, image.fetches) == ("pending", "disk_unavailable", 0)
        assert list(folder.iterdir()) == []
        resize("4m")
        keeper.world.later(seconds=16)
        keeper.tick()
        assert keeper.world.images(track_id)[0].status == "archived"

    on_a_small_disk(folder, "100k", run)


def test_an_altered_object_on_a_full_disk_stays_until_there_is_room(keeper: Keeper, tmp_path: Path) -> None:
    """It may be all that is left of the picture."""
    root = tmp_path / "archive"
    root.mkdir()
    content = noise()
    keeper.web.serve(ONE, content)

    def run(resize) -> None:  # type: ignore[no-untyped-def]
        keeper.succeeded()
        keeper.tick()
        path = root / blob_key(keeper.world.rows(Blob)[0].sha256)
        one_bit_flipped(path)
        altered = path.read_bytes()
        keeper.succeeded()
        keeper.tick()
        assert path.read_bytes() == altered
        resize("4m")
        keeper.world.later(seconds=16)
        keeper.tick()
        assert path.read_bytes() == content

    on_a_small_disk(root, "400k", run)
