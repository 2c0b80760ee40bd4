"""Callbacks into the database, many to a commit, and every request waits for its commit. When the database is away they
go into the spool."""

import time
from collections.abc import Callable, Collection, Sequence

import structlog

from webhook_app.domain.errors import DatabaseBusy, DatabaseUnavailable, StorageError
from webhook_app.flows.receive import Arrival
from webhook_app.web.grouping import Group, Handed

GIVE_UP_AFTER_S = 5.0
RETRY_AFTER_S = 5
# With less left than a lock's time-out, applying one more may keep the others waiting for too long.
APPLY_WITHIN_S = 2.5
# Beyond this the database is not keeping up, and keeping more in memory would only lose more.
MOST_WAITING_BYTES = 64 << 20
OVERHEAD_BYTES = 1024

log = structlog.get_logger(__name__)


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
        apply_within_s: float = APPLY_WITHIN_S,
    ) -> None:
        self._receive = receive
        self._keep_raw = keep_raw
        self._committed = committed
        self._spool = spool
        self._give_up_after_s, self._apply_within_s = give_up_after_s, apply_within_s
        self._group: Group[Arrival] = Group(
            "callback-batcher",
            self._settle,
            self._interrupted,
            key=lambda arrival: arrival.track_id,
            weight=lambda arrival: len(arrival.body) + OVERHEAD_BYTES,
            most_weight=MOST_WAITING_BYTES,
        )

    def put(self, arrival: Arrival) -> None:
        """Return when the callback is on record, in the database or in the spool, after about 5 seconds at the latest.
        Raises what prevented it."""
        handed = Handed(arrival)
        if not self._group.hand_over(handed):
            self._put_aside([handed], _unavailable("Too many callbacks are waiting for the database."))
        elif not handed.settled.wait(self._give_up_after_s):
            # The database hangs. Where the writer has the callback in hand it may be stored twice: that only counts.
            self._group.take_back(handed)
            self._put_aside([handed], _unavailable("The callback could not be stored in time."))
        if handed.error is not None:
            raise handed.error

    def finish(self, timeout_s: float) -> bool:
        """Wait until everything handed over is settled; False when that took longer."""
        return self._group.finish(timeout_s)

    def _interrupted(self, waiting: list[Handed[Arrival]]) -> None:
        """Not even `except Exception` caught it."""
        self._put_aside(waiting, _unavailable("The callback's batch was interrupted."))

    def _settle(self, batch: list[Handed[Arrival]]) -> None:
        started = time.monotonic()
        try:
            self._receive([handed.item for handed in batch])
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
        self._committed({handed.item.track_id for handed in batch if handed.error is None})

    def _settle_one_by_one(self, batch: list[Handed[Arrival]], started: float) -> None:
        """Something in the batch cannot be stored or applied: find it, so that the others do not suffer for it."""
        for position, handed in enumerate(batch):
            try:
                late = time.monotonic() - started > self._apply_within_s
                self._store_alone(handed, raw=late or len(batch) == 1)
            except DatabaseUnavailable as error:
                self._give_up(batch[position:], error)
                return
            except Exception as error:
                log.exception("callback.not_stored", track_id=handed.item.track_id, attempt=handed.item.attempt)
                self._put_aside([handed], error)
            else:
                handed.settle(None)

    def _store_alone(self, handed: Handed[Arrival], *, raw: bool) -> None:
        """On its own, and where even that fails, raw: a worker's tick looks at it again later."""
        if not raw:
            try:
                self._receive([handed.item])
            except DatabaseBusy as error:
                log.warning("callback.busy", track_id=handed.item.track_id, error=error.detail)
            except DatabaseUnavailable:
                raise
            except Exception:
                log.exception("callback.failed", track_id=handed.item.track_id, attempt=handed.item.attempt)
            else:
                return
        self._keep_raw(handed.item)

    def _give_up(self, batch: list[Handed[Arrival]], error: Exception) -> None:
        """The database is away: everything goes into the spool at once, what came behind this batch too."""
        self._put_aside([*batch, *self._group.take_all_back()], error)

    def _put_aside(self, waiting: list[Handed[Arrival]], error: Exception) -> None:
        """Into the spool; where that cannot keep them either, they hear `error`, and the provider a 503."""
        reason: Exception | None = None
        try:
            self._spool([handed.item for handed in waiting])
        except StorageError as full:
            log.error("callback.lost", count=len(waiting), database=str(error), spool=str(full))
            reason = error
        else:
            log.warning("callback.spooled", count=len(waiting), reason=str(error))
        for handed in waiting:
            handed.settle(reason)


def _unavailable(detail: str) -> DatabaseUnavailable:
    return DatabaseUnavailable(detail, retry_after_s=RETRY_AFTER_S)
