"""Where an export goes: what may be overwritten, what may not be followed, and what is left of an unfinished one."""

import errno
import os
import tarfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest

from webhook_app.domain.errors import StorageError
from webhook_app.storage.bundle import directory_bundle, stream_bundle, tar_bundle
from webhook_app.storage.port import Bundle

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
Make = Callable[..., AbstractContextManager[Bundle]]


def fill(bundle: Bundle, content: bytes = b"content") -> None:
    bundle.add("pictures/a.png", BytesIO(content), len(content), AT)
    bundle.add("SHA256SUMS", BytesIO(b"sums"), 4, AT)


def test_a_directory_holds_the_files_with_their_times(tmp_path: Path) -> None:
    with directory_bundle(tmp_path / "a" / "b", overwrite=False) as bundle:
        fill(bundle)
    assert (tmp_path / "a/b/pictures/a.png").read_bytes() == b"content"
    assert (tmp_path / "a/b/pictures/a.png").stat().st_mtime == AT.timestamp()


def test_a_tar_holds_the_files_and_nothing_of_this_machine(tmp_path: Path) -> None:
    made = []
    for name in ("one.tar", "two.tar"):
        with tar_bundle(tmp_path / name, overwrite=False) as bundle:
            fill(bundle)
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]
    with tarfile.open(tmp_path / "one.tar") as tar:
        assert [(entry.name, entry.mtime, entry.uid, entry.uname) for entry in tar] == [
            ("pictures/a.png", AT.timestamp(), 0, ""),
            ("SHA256SUMS", AT.timestamp(), 0, ""),
        ]


@pytest.mark.parametrize("make", [directory_bundle, tar_bundle])
def test_what_is_there_is_not_touched_unless_it_may_be(tmp_path: Path, make: Make) -> None:
    target = tmp_path / "target"
    with make(target, overwrite=False) as bundle:
        fill(bundle)
    with pytest.raises(StorageError, match="--overwrite"), make(target, overwrite=False):
        pass
    with make(target, overwrite=True) as bundle:
        fill(bundle, b"other content")
    if target.is_dir():
        assert (target / "pictures/a.png").read_bytes() == b"other content"
    else:
        with tarfile.open(target) as tar:
            assert tar.getmember("pictures/a.png").size == len(b"other content")


def test_no_link_in_the_directory_is_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    target = tmp_path / "target"
    (target / "pictures").mkdir(parents=True)
    (target / "pictures" / "a.png").symlink_to(outside / "secret")
    with directory_bundle(target, overwrite=True) as bundle:
        fill(bundle)
    assert (outside / "secret").read_bytes() == b"secret"
    assert not (target / "pictures" / "a.png").is_symlink()
    (target / "pictures" / "a.png").unlink()
    (target / "pictures").rmdir()
    (target / "pictures").symlink_to(outside)
    with pytest.raises(StorageError, match="cannot write"), directory_bundle(target, overwrite=True) as bundle:
        fill(bundle)
    assert [path.name for path in outside.iterdir()] == ["secret"]


def test_a_tar_that_was_not_finished_is_not_there(tmp_path: Path) -> None:
    def begin() -> None:
        with tar_bundle(tmp_path / "a.tar", overwrite=False) as bundle:
            fill(bundle)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        begin()
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for make in (directory_bundle, tar_bundle):
        with pytest.raises(StorageError, match="cannot write"), make(tmp_path / "file" / "target", overwrite=False):
            pass


def test_a_reader_that_goes_away_ends_the_stream() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    broken = pytest.raises(StorageError, match=os.strerror(errno.EPIPE))
    with os.fdopen(writer, "wb", buffering=0) as stream, broken, stream_bundle(stream) as bundle:
        fill(bundle, b"x" * 100_000)
