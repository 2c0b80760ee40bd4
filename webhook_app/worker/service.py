"""A worker from start to stop: its loops, its waking, and an orderly end."""

import contextlib
import fcntl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import structlog

from webhook_app.domain.errors import DatabaseUnavailable
from webhook_app.flows import pausing
from webhook_app.store import reads
from webhook_app.store.listen import Wakeups
from webhook_app.wiring import MODELSLAB, Parts
from webhook_app.worker.loop import start
from webhook_app.worker.ticks import Ticks, clock, new_owner

log = structlog.get_logger("webhook_app.worker")
NO_KEY = "no_api_key"
LOOPS_END_WITHIN_S = 2.0


class SecondWorker(Exception):
    """SQLite has one worker, and it is running already."""


@contextlib.contextmanager
def only_worker(database: Path | None) -> Iterator[None]:
    """Be the only worker of a SQLite database while the block runs; None (PostgreSQL) allows any number.
    The kernel drops the lock when the process dies, however it dies. Raises `SecondWorker`."""
    if database is None:
        yield
        return
    with database.with_name(f"{database.name}-worker.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SecondWorker(f"another worker has {database}; SQLite takes one worker process") from None
        yield


def work(parts: Parts, stop: threading.Event) -> None:
    """Run until `stop` is set, then finish what is in hand within `SHUTDOWN_GRACE_S` and give the rest back."""
    ticks = Ticks(parts, owner=new_owner())
    wakeups = Wakeups(parts.store)
    wakeups.subscribe(ticks.wake)
    wakeups.start()
    ended = threading.Event()
    tickings = ticks.all()
    loops = [start(ticking, stop) for ticking in tickings]
    start(ticks.heartbeat(), ended)
    log.info("worker.started", owner=ticks.owner, senders=parts.settings.worker_threads)
    stop.wait()
    log.info("worker.stopping", grace_s=parts.settings.shutdown_grace_s)
    for ticking in tickings:
        ticking.wake.set()  # Out of their sleep.
    _end(ticks, loops, deadline=time.monotonic() + parts.settings.shutdown_grace_s)
    ended.set()
    wakeups.stop()
    parts.store.dispose()
    log.info("worker.stopped", owner=ticks.owner)


def _end(ticks: Ticks, loops: list[threading.Thread], *, deadline: float) -> None:
    for thread in loops:
        thread.join(timeout=min(LOOPS_END_WITHIN_S, max(deadline - time.monotonic(), 0)))
    with contextlib.suppress(DatabaseUnavailable):
        ticks.give_back()
    finished = ticks.senders.wait_idle(deadline - time.monotonic())
    finished = ticks.fetchers.wait_idle(deadline - time.monotonic()) and finished
    finished = ticks.notifiers.wait_idle(deadline - time.monotonic()) and finished
    if not finished:
        # The leases of these run out, and the jobs wait for evidence: the provider may have them.
        log.warning("worker.unfinished_work")
    with contextlib.suppress(DatabaseUnavailable):
        ticks.give_back_pictures()
        ticks.give_back_deliveries()


def announce_key(parts: Parts) -> bool:
    """Pause the provider where this installation has no key for it, and end such a pause once it has one. True with a
    key."""
    has_key = parts.settings.modelslab_api_key is not None
    if not has_key:
        pausing.pause(parts.store, MODELSLAB, reason=NO_KEY, by="worker", until=None, now=clock())
    elif _paused_for(parts) == NO_KEY:
        pausing.resume(parts.store, MODELSLAB, by="worker", now=clock())
    return has_key


def _paused_for(parts: Parts) -> str | None:
    with parts.store.reading() as connection:
        for row in reads.provider_state(connection):
            if row["provider"] == MODELSLAB and row["paused_at"] is not None:
                return str(row["paused_reason"])
    return None
