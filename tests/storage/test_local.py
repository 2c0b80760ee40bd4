"""The directory: the contract, and what only a directory can do wrong."""

import errno
import os
import signal
import stat
import subprocess
import sys
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
    folder, now = root / "blobs", datetime.now(UTC)
    for name, age in ((".tmp-old", 25), (".tmp-new", 1), (".hidden", 25), ("../.tmp-old", 25)):
        (folder / name).write_bytes(b"half")
        at = (now - timedelta(hours=age)).timestamp()
        os.utime(folder / name, (at, at))
    before = now - timedelta(hours=24)
    assert storage.sweep(before, dry_run=True) == 2
    assert (folder / ".tmp-old").exists()
    assert storage.sweep(before) == 2
    assert sorted(path.name for path in folder.iterdir()) == [".hidden", ".tmp-new", "ab"]
    assert [path.name for path in root.iterdir()] == ["blobs"]


def test_what_a_killed_put_leaves_is_swept(storage: LocalStorage, root: Path, source: Path) -> None:
    """Killed between the copy and its name."""
    script = (
        "import os, signal, sys, pathlib\n"
        "from webhook_app.storage.local import LocalStorage\n"
        "die = lambda event, arguments: event in ('os.link', 'os.rename') and os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.addaudithook(die)\n"
        "storage = LocalStorage(pathlib.Path(sys.argv[1]))\n"
        "getattr(storage, sys.argv[2])(sys.argv[3], pathlib.Path(sys.argv[4]), 'image/png')\n"
    )
    storage.put_if_absent("blobs/old", source, "image/png")
    for act, key in (("put_if_absent", KEY), ("replace", "blobs/old")):
        source.write_bytes(b"other content")
        command = [sys.executable, "-c", script, str(root), act, key, str(source)]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert b"".join(storage.read("blobs/old")) == b"content"
    assert storage.size(KEY) is None
    assert len(files(root)) == 3
    assert storage.sweep(datetime.now(UTC) + timedelta(seconds=1)) == 2
    assert files(root) == ["blobs/old"]


@pytest.mark.parametrize("make", ["link", "pipe", "nothing"])
def test_whatever_lies_in_an_objects_place_is_replaced(
    storage: LocalStorage, root: Path, source: Path, tmp_path: Path, make: str
) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"other")
    (root / KEY).parent.mkdir(parents=True)
    if make == "link":
        (root / KEY).symlink_to(other)
    elif make == "pipe":
        os.mkfifo(root / KEY)
    storage.replace(KEY, source, "image/png")
    assert b"".join(storage.read(KEY)) == b"content"
    assert other.read_bytes() == b"other"


def test_a_directory_in_an_objects_place_is_an_error(storage: LocalStorage, root: Path, source: Path) -> None:
    (root / KEY).mkdir(parents=True)
    with pytest.raises(StorageError, match="cannot store"):
        storage.replace(KEY, source, "image/png")
    assert files(root) == []
