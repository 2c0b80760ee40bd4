"""The archive as a directory. An object appears whole or not at all, and is on the disk when a put returns. Paths are
walked with open directories, so that no symbolic link below the root is followed."""

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from webhook_app.domain.errors import NotAnObject, StorageError
from webhook_app.storage.blocking import blocking
from webhook_app.storage.names import is_key, parts_of
from webhook_app.storage.port import StoredObject

CHUNK = 64 * 1024
FILE_MODE, DIRECTORY_MODE = 0o640, 0o750
MISSING = frozenset({errno.ENOENT, errno.ENOTDIR})
TEMPORARY = ".tmp-"


class LocalStorage:
    """A `Storage` below `root`, which is made when the first object comes. A temporary file is named `.tmp-…` and never
    shows as an object; it lies at the top of its folder, where those of killed processes are quickly found."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put_if_absent(self, key: str, source: Path, content_type: str) -> bool:
        """`content_type` is not kept: the database knows it."""
        parts = parts_of(key)
        with _translated("store", key), contextlib.ExitStack() as stack:
            directories = self._make_directories(parts, stack)
            made = not _exists(parts[-1], directories[-1]) and _link_copy(source, parts[-1], directories)
            # Also when another process made the object: it may not have come to this point yet.
            _sync(directories)
            return made

    def replace(self, key: str, source: Path, content_type: str) -> None:
        parts = parts_of(key)
        with _translated("store", key), contextlib.ExitStack() as stack:
            directories = self._make_directories(parts, stack)
            with _temporary_copy(source, _top(directories)) as temporary:
                os.replace(temporary, parts[-1], src_dir_fd=_top(directories), dst_dir_fd=directories[-1])
            _sync(directories)

    def size(self, key: str) -> int | None:
        parts = parts_of(key)
        try:
            with _translated("look at", key), self._directory(parts) as directory:
                found = os.stat(parts[-1], dir_fd=directory, follow_symlinks=False)
        except _Missing:
            return None
        if not stat.S_ISREG(found.st_mode):
            raise NotAnObject(f"{key} is not a regular file")
        return found.st_size

    def read(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The object is opened here, not at the first chunk: what is missing shows before an answer has begun."""
        parts = parts_of(key)
        with _translated("read", key), self._directory(parts) as directory:
            # O_NONBLOCK: opening a pipe that somebody put there must not wait for a writer.
            file = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
            stream = os.fdopen(file, "rb", buffering=0)
            if not stat.S_ISREG(os.fstat(file).st_mode):
                stream.close()
                raise NotAnObject(f"{key} is not a regular file")
            stream.seek(start)
        return _chunks(stream, key, length)

    def delete(self, key: str) -> None:
        parts = parts_of(key)
        with contextlib.suppress(_Missing), _translated("remove", key):
            self._unlink(parts)

    def objects(self, folder: str, *, after: str | None = None, limit: int = 1000) -> Sequence[StoredObject]:
        """Whatever has a key's name, a symbolic link too: it is listed as itself."""
        parts = parts_of(folder)
        with contextlib.suppress(_Missing), _translated("list", folder), self._directory([*parts, ""]) as directory:
            found = (entry for entry in _walk(directory, f"{folder}/", after or "") if is_key(entry.key))
            return list(islice(found, limit))
        return []

    def sweep(self, before: datetime, *, dry_run: bool = False) -> int:
        count = 0
        with contextlib.suppress(_Missing), _translated("sweep", "the directory"), self._directory([""]) as root:
            for entry in _temporaries(root):
                if entry.modified_at < before:
                    count += 1
                    if not dry_run:
                        with contextlib.suppress(FileNotFoundError):  # Its put came to its end meanwhile.
                            self._unlink(entry.key.split("/"))
        return count

    def check(self) -> None:
        key = f"check-{secrets.token_hex(8)}"
        with _translated("use", "the directory"):
            self._root.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
            source = self._root / f"{TEMPORARY}{key}"
            source.write_bytes(key.encode())
        try:
            self.put_if_absent(key, source, "text/plain")
            if b"".join(self.read(key)) != key.encode():
                raise StorageError("the directory does not give back what was written")
        finally:
            source.unlink(missing_ok=True)
            self.delete(key)

    def describe(self) -> str:
        return f"directory {self._root}"

    def temporary_url(self, key: str, content_type: str, filename: str) -> str | None:
        return None

    def _unlink(self, parts: list[str]) -> None:
        with self._directory(parts) as directory:
            os.unlink(parts[-1], dir_fd=directory)
            os.fsync(directory)

    def _make_directories(self, parts: list[str], stack: contextlib.ExitStack) -> list[int]:
        """Open directories from the root down to the object's own, made where they are missing."""
        self._root.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
        opened = [_open_directory(self._root, stack)]
        for name in parts[:-1]:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, DIRECTORY_MODE, dir_fd=opened[-1])
            opened.append(_open_directory(name, stack, opened[-1]))
        return opened

    @contextlib.contextmanager
    def _directory(self, parts: list[str]) -> Iterator[int]:
        with contextlib.ExitStack() as stack:
            directory = _open_directory(self._root, stack)
            for name in parts[:-1]:
                directory = _open_directory(name, stack, directory)
            yield directory


class _Missing(StorageError):
    """There is no such object."""


@contextlib.contextmanager
def _translated(act: str, key: str) -> Iterator[None]:
    """The system's errors as ours. A symbolic link shows as ELOOP, or as ENOTDIR where a directory was wanted."""
    try:
        yield
    except OSError as error:
        kind = _Missing if error.errno in MISSING else NotAnObject if error.errno == errno.ELOOP else StorageError
        raise kind(f"cannot {act} {key}: {error.strerror or error}") from error
    except UnicodeError as error:
        raise StorageError(f"not a storage key: {key!r}") from error


def _open_directory(name: str | Path, stack: contextlib.ExitStack, parent: int | None = None) -> int:
    # The root itself may be a link, that is the operator's choice; nothing below it may.
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if parent is None else os.O_NOFOLLOW)
    directory = os.open(name, flags, dir_fd=parent)
    stack.callback(os.close, directory)
    return directory


def _top(directories: Sequence[int]) -> int:
    """Where temporary files lie: in the key's first folder, or in the root."""
    return directories[min(1, len(directories) - 1)]


def _link_copy(source: Path, name: str, directories: Sequence[int]) -> bool:
    """Copy under a temporary name, then link: a link never replaces, so of many writers one wins."""
    top = _top(directories)
    with _temporary_copy(source, top) as temporary:
        try:
            os.link(temporary, name, src_dir_fd=top, dst_dir_fd=directories[-1])
        except FileExistsError:
            return False
    return True


@contextlib.contextmanager
def _temporary_copy(source: Path, directory: int) -> Iterator[str]:
    """The name of a synced copy, which is gone after the block unless it was given another name."""
    temporary = f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        _copy(source, temporary, directory)
        yield temporary
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=directory)


def _sync(directories: Sequence[int]) -> None:
    for directory in reversed(directories):
        os.fsync(directory)


def _exists(name: str, directory: int) -> bool:
    """True for a regular file. Anything else in the object's place is an error, not an object."""
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.ELOOP, "something that is no regular file is in its place")
    return True


def _copy(source: Path, temporary: str, directory: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with source.open("rb") as reader, os.fdopen(os.open(temporary, flags, FILE_MODE, dir_fd=directory), "wb") as writer:
        shutil.copyfileobj(reader, writer, 1024 * 1024)
        writer.flush()
        os.fsync(writer.fileno())


def _walk(directory: int, above: str, after: str) -> Iterator[StoredObject]:
    """Everything but directories below this open one, whose key is `above`, in the order of the keys."""
    with os.scandir(directory) as entries:
        # A directory sorts as the keys in it do: behind "a.b", though "a" comes before it.
        names = sorted(entry.name + ("/" if entry.is_dir(follow_symlinks=False) else "") for entry in entries)
    for name in names:
        key = above + name
        if not name.endswith("/"):
            if key > after:
                yield from _looked_at(directory, name, key)
        elif key > after or after.startswith(key):
            with contextlib.ExitStack() as stack:
                # Without the slash, behind which a symbolic link would be followed.
                yield from _walk(_open_directory(name[:-1], stack, directory), key, after)


def _temporaries(root: int) -> Iterator[StoredObject]:
    """The temporary files in this open root and in the folders right below it."""
    with os.scandir(root) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in found:
        if name.startswith(TEMPORARY):
            yield from _looked_at(root, name, name)
        elif is_folder:
            # A file system's own `lost+found` is not ours to read.
            with contextlib.ExitStack() as stack, contextlib.suppress(FileNotFoundError, PermissionError):
                folder = _open_directory(name, stack, root)
                with os.scandir(folder) as entries:
                    names = [entry.name for entry in entries if entry.name.startswith(TEMPORARY)]
                for temporary in names:
                    yield from _looked_at(folder, temporary, f"{name}/{temporary}")


def _looked_at(directory: int, name: str, key: str) -> Iterator[StoredObject]:
    with contextlib.suppress(FileNotFoundError):  # Removed meanwhile, as a temporary file is at the end of a put.
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        yield StoredObject(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))


def _chunks(stream: BinaryIO, key: str, length: int | None) -> Iterator[bytes]:
    with stream, _translated("read", key):
        while length is None or length > 0:
            wanted = CHUNK if length is None else min(CHUNK, length)
            chunk = blocking(partial(stream.read, wanted))
            if not chunk:
                return
            if length is not None:
                length -= len(chunk)
            yield chunk
