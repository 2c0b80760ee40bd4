"""What the archive asks of a store of objects, an export of what it fills, and callbacks of a spool. Keys are relative
paths that we make ourselves (`blobs/ab/cd/<sha256>`)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Protocol


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What lies at a key; `size` in bytes."""

    key: str
    size: int
    modified_at: datetime


class Storage(Protocol):
    def put_if_absent(self, key: str, source: Path, content_type: str) -> bool:
        """Store the file's bytes durably under `key`. True when this call made the object, False when it was there
        already. Never shows a partial object. Raises `domain.errors.StorageError`."""
        ...

    def replace(self, key: str, source: Path, content_type: str) -> None:
        """Store the file's bytes durably in the place of whatever lies at `key`, a link or a pipe too. Whoever reads
        meanwhile gets the old ones or the new ones, whole. Raises `StorageError`: then the old ones are still there."""
        ...

    def size(self, key: str) -> int | None:
        """The object's size in bytes, None when there is no such object."""
        ...

    def read(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The object's bytes from `start`, in chunks. Raises `StorageError` when it is missing or unreadable."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object; removing what is not there is not an error."""
        ...

    def objects(self, folder: str, *, after: str | None = None, limit: int = 1000) -> Sequence[StoredObject]:
        """What lies below the key `folder`, by key, from behind the key `after` on and at most `limit`; empty when that
        is all. Raises `StorageError`."""
        ...

    def sweep(self, before: datetime, *, dry_run: bool = False) -> int:
        """Remove what interrupted puts left behind before that instant, which no key names; returns how much it was.
        Quick however much is stored; a put that was still going on fails, and is repeated. Raises `StorageError`."""
        ...

    def check(self) -> None:
        """Write, read and remove a small object; raises `StorageError` saying what failed."""
        ...

    def describe(self) -> str:
        """For people: where this is, without secrets."""
        ...

    def temporary_url(self, key: str, content_type: str, filename: str) -> str | None:
        """An address that gives the object to anyone for some minutes, as of this type and under this name where the
        service can be told so; None where clients are to be served by us."""
        ...


class Bundle(Protocol):
    def add(self, name: str, content: IO[bytes], size: int, at: datetime) -> None:
        """Take in the `size` bytes of the content, from its beginning, as the file `name` of that time. Names are
        relative paths that we make ourselves. Raises `domain.errors.StorageError`."""
        ...


@dataclass(frozen=True, slots=True)
class Drained:
    """What became of a spool's entries: handed over, and set aside because their bytes were torn or changed, or because
    they were refused."""

    handed_over: int
    unreadable: int

    def __add__(self, other: "Drained") -> "Drained":
        return Drained(self.handed_over + other.handed_over, self.unreadable + other.unreadable)


# Takes entries and returns those that nobody will ever be able to take.
Take = Callable[[Sequence[bytes]], Sequence[bytes]]
# Says of each line, torn or changed as it may be, whether it has to go.
Pick = Callable[[Sequence[bytes]], Sequence[bool]]


class Spool(Protocol):
    def append(self, entries: Sequence[bytes]) -> None:
        """Keep these, each a line's worth of bytes without a line feed; they are on the disk when this returns. All or
        none: raises `StorageError` when the disk is full, not writable, or the spool at its cap."""
        ...

    def drain(self, take: Take) -> Drained:
        """Hand over what this process kept and what dead processes of this machine left, in batches, and forget what
        `take` took; what it refused is set aside, and what it raises leaves the rest where it is. A crash meanwhile
        hands over again. Does nothing while another thread drains. Raises `StorageError`."""
        ...

    def forget(self, pick: Pick) -> int:
        """Overwrite the lines set aside on this machine that `pick` picks, in batches; returns how many. Raises
        `StorageError`, and what `pick` raises."""
        ...

    def entries(self) -> int:
        """How many entries wait, those of living processes included."""
        ...

    def unreadable(self) -> int:
        """How many were set aside: torn, changed, or refused."""
        ...

    def check(self) -> None:
        """Write and remove a small file; raises `StorageError` saying what failed."""
        ...
