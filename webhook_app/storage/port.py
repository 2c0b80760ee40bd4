"""What the archive asks of a store of objects. Keys are relative paths that we make ourselves
(`blobs/ab/cd/<sha256>`)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol


class Storage(Protocol):
    def put_if_absent(self, key: str, source: Path, content_type: str) -> bool:
        """Store the file's bytes durably under `key`. True when this call made the object, False when it was there
        already. Never shows a partial object. Raises `domain.errors.StorageError`."""
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

    def check(self) -> None:
        """Write, read and remove a small object; raises `StorageError` saying what failed."""
        ...

    def describe(self) -> str:
        """For people: where this is, without secrets."""
        ...
