"""Where an export goes: a directory, a tar file, or a tar on a stream. No symbolic link in a bundle is followed, and a
tar file has its name only once it is whole."""

import contextlib
import os
import secrets
import shutil
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from webhook_app.domain.errors import StorageError
from webhook_app.storage.port import Bundle

FILE_MODE, DIRECTORY_MODE = 0o640, 0o750
CHUNK = 1024 * 1024


@contextlib.contextmanager
def directory_bundle(path: Path, *, overwrite: bool) -> Iterator[Bundle]:
    """A directory, made where it is missing. One that holds something is refused, unless its files may be overwritten;
    those that are no part of the bundle stay. Raises `StorageError`."""
    with contextlib.ExitStack() as stack:
        with _translated(path):
            path.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
            root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, root)
            if not overwrite and os.listdir(root):
                raise StorageError(f"{path} is not empty (--overwrite)")
        yield _Directory(path, root)


@contextlib.contextmanager
def tar_bundle(path: Path, *, overwrite: bool) -> Iterator[Bundle]:
    """A tar file, which appears at the end of the block. Raises `StorageError`."""
    if not overwrite and os.path.lexists(path):
        raise StorageError(f"{path} is there already (--overwrite)")
    temporary = path.with_name(f".tmp-{secrets.token_hex(8)}")
    try:
        with _translated(path):
            with temporary.open("xb") as file:
                with stream_bundle(file) as bundle:
                    yield bundle
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):  # Not there once it has its name, nor where it could not be made.
            temporary.unlink()


@contextlib.contextmanager
def stream_bundle(stream: IO[bytes]) -> Iterator[Bundle]:
    """A tar that goes to a stream as it is made; nothing is sought. Raises `StorageError`."""
    with _translated("the tar"), tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT) as tar:
        yield _Tar(tar)


class _Directory:
    def __init__(self, path: Path, root: int) -> None:
        self._path, self._root = path, root

    def add(self, name: str, content: IO[bytes], size: int, at: datetime) -> None:
        *folders, leaf = name.split("/")
        with _translated(self._path / name), contextlib.ExitStack() as stack:
            directory = self._root
            for folder in folders:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(folder, DIRECTORY_MODE, dir_fd=directory)
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                directory = os.open(folder, flags, dir_fd=directory)
                stack.callback(os.close, directory)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(leaf, dir_fd=directory)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            content.seek(0)
            with os.fdopen(os.open(leaf, flags, FILE_MODE, dir_fd=directory), "wb") as file:
                shutil.copyfileobj(content, file, CHUNK)
                file.flush()
                os.utime(file.fileno(), (at.timestamp(), at.timestamp()))


class _Tar:
    """The same files give the same bytes: nothing of this machine or this moment is in it."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def add(self, name: str, content: IO[bytes], size: int, at: datetime) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode, entry.mtime = size, 0o644, int(at.astimezone(UTC).timestamp())
        content.seek(0)
        self._tar.addfile(entry, content)


@contextlib.contextmanager
def _translated(place: Path | str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write {place}: {error.strerror or error}") from error
