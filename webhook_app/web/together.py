"""One query for all who ask at the same time: who asks while one runs is answered by the next one."""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Generic, TypeVar

from webhook_app.domain.errors import DatabaseUnavailable

MOST = 10_000  # SQLite takes 32,766 parameters, and one request may have a thousand.
PATIENCE_S = 10.0  # As long as a connection may be silent.
AT_ONCE_S = 0.5
RETRY_AFTER_S = 5
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
    """`read` is given keys and returns what it finds, by key. It runs once at a time, unless it is silent for long: a
    thousand requests that come together, or that one commit has woken, need one connection and few queries, and leave
    the others to the rest. `most_at_once` keys make a batch full."""

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
        reading = self._reading
        if not reading.acquire(timeout=PATIENCE_S):
            self._go_past(reading)
            raise DatabaseUnavailable("The database does not answer.", retry_after_s=RETRY_AFTER_S)
        try:
            if batch.found is None and batch.error is None:
                self._read_for(batch)
        finally:
            reading.release()
        if batch.error is not None:
            # An error of one's own: a thousand raising the same one would lengthen its traceback a thousand times.
            raise DatabaseUnavailable(batch.error.detail, retry_after_s=batch.error.retry_after_s) from batch.error
        found = batch.found or {}
        return {key: found[key] for key in keys if key in found}

    def _go_past(self, reading: threading.Lock) -> None:
        """Whoever reads hears nothing, and may never: those who come now read on another connection."""
        with self._lock:
            if self._reading is reading:
                self._reading = threading.Lock()

    def _read_for(self, batch: _Batch[Found]) -> None:
        with self._lock:
            if batch is self._next:  # Nobody joins any more: what changes after this is for the next one to see.
                self._next = _Batch(batch.number + 1)
        if batch.number <= self._failed_up_to:
            batch.error = self._error
            return
        began_at = time.monotonic()
        try:
            batch.found = self._read_again_if_cut(sorted(batch.keys))
        except DatabaseUnavailable as error:
            batch.error = self._error = error
            if time.monotonic() - began_at < AT_ONCE_S:
                return
            # Who came meanwhile is told too: nobody should wait for two time-outs, one after the other.
            with self._lock:
                self._failed_up_to = self._next.number
                self._next = _Batch(self._next.number + 1)

    def _read_again_if_cut(self, keys: Sequence[str]) -> Mapping[str, Found]:
        """A session that the server has ended fails at once, and many wait for it: another one may live."""
        began_at = time.monotonic()
        try:
            return self._read(keys)
        except DatabaseUnavailable:
            if time.monotonic() - began_at > AT_ONCE_S:
                raise
            return self._read(keys)
