"""Callbacks into the database, many to a commit: one writer per process, and every request waits for its commit. When
the database is away they go into the spool.

There is no artificial delay: what arrived during the last commit is the next batch (performance.md, section 2).
Plain `threading` primitives only, so that the same code works under threads and under gevent.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import structlog

from webhook_app.domain.errors import DatabaseBusy, DatabaseUnavailable, StorageError
from webhook_app.flows.receive import Arrival

MOST_IN_A_BATCH = 256
GIVE_UP_AFTER_S = 5.0
RETRY_AFTER_S = 5
# With less left than a lock's time-out, applying one more may keep the others waiting for too long.
APPLY_WITHIN_S = 2.5
# Beyond this the database is not keeping up, and keeping more in memory would only lose more.
MOST_WAITING_BYTES = 64 << 20
OVERHEAD_BYTES = 1024

log = structlog.get_logger(__name__)


@dataclass(eq=False, slots=True)
class _Handed:
    """An arrival and the request that waits for it. `error` is set before `settled`; None then means: on record."""

    arrival: Arrival
    settled: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None

    @property
    def weight(self) -> int:
        return len(self.arrival.body) + OVERHEAD_BYTES

    def settle(self, error: Exception | None) -> None:
        if not self.settled.is_set():
            self.error = error
            self.settled.set()


class Batcher:
    """`receive` keeps and applies a batch in one transaction, `keep_raw` puts one on record without a look at it,
    `spool` keeps some outside the database or raises `StorageError`, `committed` is told which jobs may have changed.
    The writer starts with a process's first callback."""

    def __init__(
        self,
        receive: Callable[[Sequence[Arrival]], object],
        keep_raw: Callable[[Arrival], None],
        committed: Callable[[Collection[str]], None],
        *,
        spool: Callable[[Sequence[Arrival]], None],
        give_up_after_s: float = GIVE_UP_AFTER_S,
    ) -> None:
        self._receive = receive
        self._keep_raw = keep_raw
        self._committed = committed
        self._spool = spool
        self._give_up_after_s = give_up_after_s
        self._reset()
        # A fork copies the queue but not the writer; the parent's callbacks are the parent's.
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._pending: deque[_Handed] = deque()
        self._pending_bytes = 0
        self._in_hand: list[_Handed] = []
        self._writer: threading.Thread | None = None

    def put(self, arrival: Arrival) -> None:
        """Return when the callback is on record, in the database or in the spool, after about 5 seconds at the latest.
        Raises what prevented it."""
        handed = _Handed(arrival)
        if not self._queue(handed):
            self._put_aside([handed], _unavailable("Too many callbacks are waiting for the database."))
        elif not handed.settled.wait(self._give_up_after_s):
            self._withdraw(handed)
        if handed.error is not None:
            raise handed.error

    def _queue(self, handed: _Handed) -> bool:
        """False when so much waits already that this must not be kept in memory as well."""
        with self._changed:
            if self._pending_bytes + handed.weight > MOST_WAITING_BYTES:
                return False
            self._pending.append(handed)
            self._pending_bytes += handed.weight
            self._keep_writing()
            self._changed.notify_all()
        return True

    def _withdraw(self, handed: _Handed) -> None:
        """The database hangs. Where the writer has the callback in hand it may be stored twice: that only counts."""
        with self._changed:
            if handed in self._pending:
                self._pending.remove(handed)
                self._pending_bytes -= handed.weight
        self._put_aside([handed], _unavailable("The callback could not be stored in time."))

    def finish(self, timeout_s: float) -> bool:
        """Wait until everything handed over is settled; False when that took longer."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._pending or self._in_hand), timeout_s)

    def _keep_writing(self) -> None:
        if self._writer is None or not self._writer.is_alive():
            self._writer = threading.Thread(target=self._write, name="callback-batcher", daemon=True)
            self._writer.start()

    def _write(self) -> None:
        try:
            while True:
                self._settle(self._take())
        finally:
            self._died()

    def _died(self) -> None:
        """Not even `except Exception` caught it (a thread killed from outside). What it had in hand is put aside, and
        the next writer takes over what is left."""
        with self._changed:
            interrupted, self._in_hand = self._in_hand, []
            self._writer = None
            if self._pending:
                self._keep_writing()
        waiting = [handed for handed in interrupted if not handed.settled.is_set()]
        if waiting:
            self._put_aside(waiting, _unavailable("The callback's batch was interrupted."))

    def _take(self) -> list[_Handed]:
        """The next batch, in order of arrival. Two of one job never share one: the second is judged after the first."""
        with self._changed:
            self._in_hand = []
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._pending)
            self._let_others_in()
            left: deque[_Handed] = deque()
            chosen: dict[str, _Handed] = {}
            for handed in self._pending:
                if len(chosen) < MOST_IN_A_BATCH and handed.arrival.track_id not in chosen:
                    chosen[handed.arrival.track_id] = handed
                else:
                    left.append(handed)
            self._pending = left
            self._pending_bytes = sum(handed.weight for handed in left)
            self._in_hand = list(chosen.values())
            return self._in_hand

    def _let_others_in(self) -> None:
        """Give way once to the requests that are ready to hand over: no delay, a larger batch."""
        self._changed.release()
        time.sleep(0)
        self._changed.acquire()

    def _settle(self, batch: list[_Handed]) -> None:
        started = time.monotonic()
        try:
            self._receive([handed.arrival for handed in batch])
        except DatabaseBusy as error:
            log.warning("callback.batch_busy", size=len(batch), error=error.detail)
            self._settle_one_by_one(batch, started)
        except DatabaseUnavailable as error:
            self._give_up(batch, error)
        except Exception:
            log.exception("callback.batch_failed", size=len(batch))
            self._settle_one_by_one(batch, started)
        else:
            for handed in batch:
                handed.settle(None)
            log.debug("callback.batch", size=len(batch), ms=round(1000 * (time.monotonic() - started), 1))
        self._committed({handed.arrival.track_id for handed in batch if handed.error is None})

    def _settle_one_by_one(self, batch: list[_Handed], started: float) -> None:
        """Something in the batch cannot be stored or applied: find it, so that the others do not suffer for it."""
        for position, handed in enumerate(batch):
            try:
                late = time.monotonic() - started > APPLY_WITHIN_S
                self._store_alone(handed, raw=late or len(batch) == 1)
            except DatabaseUnavailable as error:
                self._give_up(batch[position:], error)
                return
            except Exception as error:
                log.exception("callback.not_stored", track_id=handed.arrival.track_id, attempt=handed.arrival.attempt)
                self._put_aside([handed], error)
            else:
                handed.settle(None)

    def _store_alone(self, handed: _Handed, *, raw: bool) -> None:
        """On its own, and where even that fails, raw: a worker's tick looks at it again later."""
        if not raw:
            try:
                self._receive([handed.arrival])
            except DatabaseBusy as error:
                log.warning("callback.busy", track_id=handed.arrival.track_id, error=error.detail)
            except DatabaseUnavailable:
                raise
            except Exception:
                log.exception("callback.failed", track_id=handed.arrival.track_id, attempt=handed.arrival.attempt)
            else:
                return
        self._keep_raw(handed.arrival)

    def _give_up(self, batch: list[_Handed], error: Exception) -> None:
        """The database is away: everything goes into the spool at once, what came behind this batch too."""
        with self._changed:
            waiting = [*batch, *self._pending]
            self._pending = deque()
            self._pending_bytes = 0
        self._put_aside(waiting, error)

    def _put_aside(self, waiting: list[_Handed], error: Exception) -> None:
        """Into the spool; where that cannot keep them either, they hear `error`, and the provider a 503."""
        reason: Exception | None = None
        try:
            self._spool([handed.arrival for handed in waiting])
        except StorageError as full:
            log.error("callback.lost", count=len(waiting), database=str(error), spool=str(full))
            reason = error
        else:
            log.warning("callback.spooled", count=len(waiting), reason=str(error))
        for handed in waiting:
            handed.settle(reason)


def _unavailable(detail: str) -> DatabaseUnavailable:
    return DatabaseUnavailable(detail, retry_after_s=RETRY_AFTER_S)
