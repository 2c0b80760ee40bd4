"""One query for all who ask at the same time: who asks while one runs is answered by the next one."""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Generic, TypeVar

from webhook_app.domain.errors import DatabaseUnavailable

MOST = 10_000  # SQLite takes 32,766 parameters, and one request may have a thousand.
Found = TypeVar("Found")


class _Batch(Generic[Found]):
    """Those who ask together, and what they are told. Batches are numbered in the order in which they began."""

    __slots__ = ("error", "found", "keys", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.keys: set[str] = set()
        self.found: Mapping[str, Found] | None = None
        self.error: DatabaseUnavailable | None = None


class Together(Generic[Found]):
    """`read` is given keys and returns what it finds, by key. It runs once at a time: a thousand requests that come
    together, or that one commit has woken, need one connection and few queries, and leave the others to the rest.
    `most_at_once` keys make a batch full."""

    def __init__(self, read: Callable[[Sequence[str]], Mapping[str, Found]], *, most_at_once: int = MOST) -> None:
        self._read, self._most_at_once = read, most_at_once
        self._lock, self._reading = threading.Lock(), threading.Lock()
        self._next: _Batch[Found] = _Batch(1)
        self._failed_up_to, self._error = 0, DatabaseUnavailable("")

    def of(self, keys: Collection[str]) -> dict[str, Found]:
        """By key, as things are now; what does not exist is left out. Raises `DatabaseUnavailable`."""
        with self._lock:
            if len(self._next.keys) >= self._most_at_once:
                self._next = _Batch(self._next.number + 1)
            batch = self._next
            batch.keys.update(keys)
        with self._reading:
            if batch.found is None and batch.error is None:
                self._read_for(batch)
        if batch.error is not None:
            # An error of one's own: a thousand raising the same one would lengthen its traceback a thousand times.
            raise DatabaseUnavailable(batch.error.detail, retry_after_s=batch.error.retry_after_s) from batch.error
        found = batch.found or {}
        return {key: found[key] for key in keys if key in found}

    def _read_for(self, batch: _Batch[Found]) -> None:
        with self._lock:
            if batch is self._next:  # Nobody joins any more: what changes after this is for the next one to see.
                self._next = _Batch(batch.number + 1)
        if batch.number <= self._failed_up_to:
            batch.error = self._error
            return
        try:
            batch.found = self._read(sorted(batch.keys))
        except DatabaseUnavailable as error:
            # Who came meanwhile is told too: nobody should wait for two time-outs, one after the other.
            batch.error = self._error = error
            with self._lock:
                self._failed_up_to = self._next.number
                self._next = _Batch(self._next.number + 1)
