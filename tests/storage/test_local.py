"""The directory: the contract, and what only a directory can do wrong."""

import errno
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.storage.contract import KEY, StorageContract
from webhook_app.domain.errors import NotAnObject, StorageError
from webhook_app.storage.local import LocalStorage


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def storage(root: Path) -> LocalStorage:
    return LocalStorage(root)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"content")
    return path


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


class TestLocalStorage(StorageContract):
    """The contract in a directory."""


def test_keys_are_listed_in_the_order_of_their_characters(storage: LocalStorage, source: Path) -> None:
    """ "a.b" stands before "a/b", though "a" stands before "a.b". Not every bucket sees it so, and we need not."""
    keys = ["blobs/a-b/x", "blobs/a.b", "blobs/a/b", "blobs/a0/b"]
    for key in reversed(keys):
        storage.put_if_absent(key, source, "image/png")
    assert [entry.key for entry in storage.objects("blobs")] == keys
    assert [entry.key for entry in storage.objects("blobs", after="blobs/a.b")] == keys[2:]


def test_only_the_object_is_left_and_others_may_not_read_it(storage: LocalStorage, root: Path, source: Path) -> None:
    before = os.umask(0)
    try:
        storage.put_if_absent(KEY, source, "image/png")
    finally:
        os.umask(before)
    assert files(root) == [KEY]
    assert stat.S_IMODE((root / KEY).stat().st_mode) == 0o640
    assert stat.S_IMODE((root / KEY).parent.stat().st_mode) == 0o750


def test_the_check_leaves_no_file(storage: LocalStorage, root: Path) -> None:
    storage.check()
    assert files(root) == []


def test_the_check_names_what_failed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot use"):
        LocalStorage(tmp_path / "file").check()


def test_a_symbolic_link_in_an_objects_place_is_refused(
    storage: LocalStorage, root: Path, source: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (root / KEY).parent.mkdir(parents=True)
    (root / KEY).symlink_to(secret)
    for act in (storage.read, storage.size):
        with pytest.raises(NotAnObject):
            act(KEY)
    with pytest.raises(NotAnObject):
        storage.put_if_absent(KEY, source, "image/png")
    storage.delete(KEY)
    assert secret.read_bytes() == b"secret"


def test_a_symbolic_link_on_the_way_is_refused(storage: LocalStorage, root: Path, source: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "cd").mkdir(parents=True)
    (outside / "cd" / "abcdef").write_bytes(b"secret")
    (root / "blobs").mkdir(parents=True)
    (root / "blobs" / "ab").symlink_to(outside)
    with pytest.raises(StorageError):
        storage.read(KEY)
    with pytest.raises(StorageError):
        storage.put_if_absent("blobs/ab/new", source, "image/png")
    storage.delete(KEY)
    assert files(outside) == ["cd/abcdef"]


def test_a_pipe_in_an_objects_place_does_not_hang(storage: LocalStorage, root: Path) -> None:
    (root / KEY).parent.mkdir(parents=True)
    os.mkfifo(root / KEY)
    with pytest.raises(StorageError, match="regular"):
        storage.read(KEY)


def test_a_full_disk_leaves_nothing(
    storage: LocalStorage, root: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StorageError, match="No space left"):
            storage.put_if_absent(KEY, source, "image/png")
        assert files(root) == []
    assert storage.put_if_absent(KEY, source, "image/png") is True


def test_the_object_its_name_and_its_directories_are_synced(
    storage: LocalStorage, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    storage.put_if_absent(KEY, source, "image/png")
    assert synced == ["file", *["directory"] * 4]


def test_a_chunk_is_no_larger_than_64_kib(storage: LocalStorage, source: Path) -> None:
    source.write_bytes(b"x" * 200_000)
    storage.put_if_absent(KEY, source, "image/png")
    assert max(map(len, storage.read(KEY))) == 64 * 1024


def test_what_no_key_names_is_not_listed_and_no_link_is_followed(
    storage: LocalStorage, root: Path, source: Path, tmp_path: Path
) -> None:
    storage.put_if_absent(KEY, source, "image/png")
    folder = (root / KEY).parent
    (folder / ".tmp-0123").write_bytes(b"half")
    (folder / ".hidden").write_bytes(b"x")
    (folder / "back\\slash").write_bytes(b"x")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff")).write_bytes(b"x")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    (folder / "link").symlink_to(tmp_path / "outside")
    assert [entry.key for entry in storage.objects("blobs")] == [KEY, "blobs/ab/cd/link"]


def test_a_sweep_takes_old_temporary_files_alone(storage: LocalStorage, root: Path, source: Path) -> None:
    storage.put_if_absent(KEY, source, "image/png")
    folder, now = (root / KEY).parent, datetime.now(UTC)
    for name, age in ((".tmp-old", 25), (".tmp-new", 1), (".hidden", 25)):
        (folder / name).write_bytes(b"half")
        at = (now - timedelta(hours=age)).timestamp()
        os.utime(folder / name, (at, at))
    before = now - timedelta(hours=24)
    assert storage.sweep(before, dry_run=True) == 1
    assert (folder / ".tmp-old").exists()
    assert storage.sweep(before) == 1
    assert sorted(path.name for path in folder.iterdir()) == [".hidden", ".tmp-new", "abcdef"]
