"""Entries that must not be lost, in files of this machine: one for each process, appended, fsynced, checksummed.

A file is locked by the process that writes it, for as long as that lives; once the lock is free, anybody on this
machine may hand its entries over. What was handed over is forgotten afterwards, so a crash in between repeats it.
What nobody can use is kept in a file beside it, as a line of the same form: renamed to `.spool` it is tried again.
"""

import contextlib
import fcntl
import os
import secrets
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from webhook_app.domain.errors import StorageError
from webhook_app.storage.port import Drained, Pick, Take

MOST_BYTES = 1 << 30
AT_ONCE = 256
READ_BYTES = 8 << 20
# Longer than any line of ours, which holds a body of 1 MiB at most: what is longer is taken in pieces.
LONGEST = 4 << 20
CHECKSUM = 8  # Hexadecimal digits of a CRC-32, and a space, stand before each entry.
FILE_MODE, DIRECTORY_MODE = 0o600, 0o700
# Between two system calls a file has this ending; older ones were left by a process that died just there.
NEW, NEW_FOR_S = ".new", 60.0


class FileSpool:
    """A `Spool` below `directory`, which is made when the first entry comes. Safe for threads; a forked child begins a
    file of its own. `most_bytes` bounds one process's file."""

    def __init__(self, directory: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self._directory, self._most_bytes = directory, most_bytes
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._draining = threading.Lock()
        self._file: int | None = None
        self._path: Path | None = None
        self._counted: dict[tuple[str, bytes], tuple[int, int]] = {}

    def append(self, entries: Sequence[bytes]) -> None:
        data = b"".join(_line(entry) + b"\n" for entry in entries)
        with self._lock, _translated("write to"):
            file = self._open()
            end = os.lseek(file, 0, os.SEEK_END)
            if end + len(data) > self._most_bytes:
                raise StorageError(f"the spool has reached {self._most_bytes} bytes")
            try:
                _write_all(file, data)
                os.fsync(file)
            except OSError:
                # What is there of it was promised to nobody; the next entry must begin on a line of its own.
                with contextlib.suppress(OSError):
                    os.ftruncate(file, end)
                raise

    def drain(self, take: Take) -> Drained:
        drained = Drained(0, 0)
        if not self._draining.acquire(blocking=False):
            return drained
        try:
            with _translated("read"):
                drained += self._drain_own(take)
                for path in self._files():
                    if path != self._path:
                        drained += self._drain_left_behind(path, take)
                self._sweep()
            return drained
        finally:
            self._draining.release()

    def forget(self, pick: Pick) -> int:
        """In place, so that nothing is lost that somebody sets aside meanwhile."""
        with _translated("overwrite"):
            files = sorted(self._directory.glob("*.unreadable"))
            return sum(_overwrite(path, pick) for path in files if path.stat().st_size)

    def entries(self) -> int:
        with _translated("read"):
            return sum(self._count(path) for path in self._files())

    def unreadable(self) -> int:
        with _translated("read"):
            return sum(self._count(path) for path in sorted(self._directory.glob("*.unreadable")))

    def check(self) -> None:
        with _translated("use"):
            self._directory.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
            probe = self._directory / f"check-{secrets.token_hex(8)}"
            try:
                with probe.open("xb") as file:
                    file.write(b"check")
                    file.flush()
                    os.fsync(file.fileno())
            finally:
                probe.unlink(missing_ok=True)

    def _open(self) -> int:
        if self._file is None:
            self._directory.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
            self._file, self._path = _begin(self._directory / f"{os.getpid()}-{secrets.token_hex(6)}")
        return self._file

    def _files(self) -> list[Path]:
        return sorted(self._directory.glob("*.spool")) if self._directory.is_dir() else []

    def _drain_own(self, take: Take) -> Drained:
        """What is appended meanwhile is drained too; the file is emptied once nothing is left in it."""
        file, path = self._file, self._path
        if file is None or path is None:
            return Drained(0, 0)
        drained, done = Drained(0, 0), 0
        while True:
            with self._lock:  # Whoever appends holds it: up to here every line is whole, and none is taken back.
                size = os.fstat(file).st_size
                if size == done:
                    os.ftruncate(file, 0)
                    return drained
            drained += _hand_over(file, path, take, start=done, until=size)
            done = size

    def _drain_left_behind(self, path: Path, take: Take) -> Drained:
        """A dead process's file. One that lives holds its lock; one that somebody else drains is gone afterwards."""
        with contextlib.ExitStack() as stack:
            try:
                file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                return Drained(0, 0)
            stack.callback(os.close, file)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return Drained(0, 0)
            found = os.fstat(file)
            if found.st_nlink == 0:
                return Drained(0, 0)
            drained = _hand_over(file, path, take, start=0, until=found.st_size)
            path.unlink(missing_ok=True)
            _sync_directory(self._directory)
            return drained

    def _sweep(self) -> None:
        """Remove what died before it became a spool: such a file is empty."""
        for path in self._directory.glob(f"*{NEW}"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - NEW_FOR_S:
                    path.unlink()

    def _count(self, path: Path) -> int:
        """Counted on from where the last look ended: a probe must not read a long file again and again."""
        try:
            with path.open("rb") as file:
                first = file.read(CHECKSUM)  # Another one than before: the file was emptied, and filled again.
                seen, count = self._counted.get((path.name, first), (0, 0))
                file.seek(seen)
                while chunk := file.read(READ_BYTES):
                    count += chunk.count(b"\n")
                    seen += len(chunk)
        except FileNotFoundError:
            return 0
        self._counted = {known: found for known, found in self._counted.items() if known[0] != path.name}
        self._counted[path.name, first] = (seen, count)
        return count


def _begin(name: Path) -> tuple[int, Path]:
    """A new file, locked before it has the name that drainers look for: they would take it for a dead process's, find
    it empty and remove it, and what is written to it then would be gone."""
    new, path = name.with_suffix(NEW), name.with_suffix(".spool")
    file = os.open(new, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        new.rename(path)
        _sync_directory(path.parent)
    except OSError:
        os.close(file)
        raise
    return file, path


def _line(entry: bytes) -> bytes:
    """An entry as it is written, without the line feed."""
    if b"\n" in entry:
        raise ValueError("an entry is one line")
    return b"%08x %b" % (zlib.crc32(entry), entry)


def _entry(line: bytes) -> bytes | None:
    """The entry of a line; None when the line is torn or was changed."""
    entry = line[CHECKSUM + 1 :]
    return entry if line[: CHECKSUM + 1] == b"%08x " % zlib.crc32(entry) else None


def _hand_over(file: int, path: Path, take: Take, *, start: int, until: int) -> Drained:
    """Give `take` every whole entry between these offsets, in batches."""
    drained, batch = Drained(0, 0), list[bytes]()
    for line in _lines(file, start, until):
        entry = _entry(line)
        if entry is None:
            _set_aside(path, line)
            drained += Drained(0, 1)
            continue
        batch.append(entry)
        if len(batch) == AT_ONCE:
            drained, batch = drained + _give(path, take, batch), []
    return drained + _give(path, take, batch) if batch else drained


def _give(path: Path, take: Take, batch: list[bytes]) -> Drained:
    refused = take(batch)
    for entry in refused:
        _set_aside(path, _line(entry))
    return Drained(len(batch) - len(refused), len(refused))


def _lines(file: int, start: int, until: int) -> Iterator[bytes]:
    """Each line between these offsets without its end, one that is too long to be ours in pieces. A last one without an
    end was torn by a crash."""
    rest, offset = b"", start
    while chunk := os.pread(file, min(READ_BYTES, until - offset), offset):
        offset += len(chunk)
        *lines, rest = (rest + chunk).split(b"\n")
        yield from filter(None, lines)
        while len(rest) > LONGEST:
            yield rest[:LONGEST]
            rest = rest[LONGEST:]
    if rest:
        yield rest


def _set_aside(path: Path, line: bytes) -> None:
    """Keep what cannot be read for people to look at: beside the file, out of the way of the next drain."""
    with path.with_suffix(".unreadable").open("ab") as file:
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _overwrite(path: Path, pick: Pick) -> int:
    """Put dashes in the place of the lines that are picked; the file keeps its length."""
    overwritten = 0
    with path.open("r+b") as file:
        while batch := _next_lines(file):
            end = file.tell()
            for (at, line), is_picked in zip(batch, pick([line for _, line in batch]), strict=True):
                if is_picked:
                    file.seek(at)
                    file.write(b"-" * len(line))
                    overwritten += 1
            file.seek(end)
        file.flush()
        os.fsync(file.fileno())
    return overwritten


def _next_lines(file: BinaryIO) -> list[tuple[int, bytes]]:
    """Some lines without their ends, each with where it begins; none at the end of the file."""
    lines, size, at = list[tuple[int, bytes]](), 0, file.tell()
    while len(lines) < AT_ONCE and size < READ_BYTES and (line := file.readline(LONGEST)):
        lines.append((at, line.removesuffix(b"\n")))
        at, size = at + len(line), size + len(line)
    return lines


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _sync_directory(directory: Path) -> None:
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextlib.contextmanager
def _translated(act: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"could not {act} the spool: {error.strerror}") from error
