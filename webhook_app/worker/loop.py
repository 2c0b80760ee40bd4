"""One loop for every tick: it alone waits, is woken, catches what a tick raises, and backs off."""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from webhook_app.domain.errors import DatabaseUnavailable
from webhook_app.domain.schedule import backoff

log = structlog.get_logger("webhook_app.worker")


@dataclass(frozen=True, slots=True)
class Ticking:
    """A tick and its rhythm. The tick does one batch and returns how much it did. After one that did something the next
    follows `rest_s` later; after an idle one the loop sleeps up to `every_s`, less when `wake` is set."""

    name: str
    tick: Callable[[], int]
    every_s: float
    rest_s: float = 0.0
    backoff_most_s: float = 10.0
    wake: threading.Event = field(default_factory=threading.Event)


def run(ticking: Ticking, stopping: threading.Event) -> None:
    """Tick until `stopping`; nothing that a tick raises ends the loop."""
    failures = 0
    while not stopping.is_set():
        ticking.wake.clear()  # Before the tick: what happens meanwhile wakes the next one.
        done = caught(ticking.tick)
        if isinstance(done, Exception):
            failures += 1
            stopping.wait(_after_failure(ticking, done, failures))
            continue
        failures = 0
        stopping.wait(ticking.rest_s)
        if done == 0 and not stopping.is_set():
            ticking.wake.wait(ticking.every_s)


def caught(work: Callable[[], int]) -> int | Exception:
    """What the work returns or raises. The worker's only net: its threads outlive everything that ticks can do."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - see above
        return error


def _after_failure(ticking: Ticking, error: Exception, failures: int) -> float:
    """Say it, and how long to wait in seconds. A database that is away is no news for a traceback."""
    pause = backoff(failures - 1, jitter=random.random(), first_s=0.5, most_s=ticking.backoff_most_s).total_seconds()
    expected = isinstance(error, DatabaseUnavailable)
    log.error(
        "worker.tick_failed",
        loop=ticking.name,
        failures=failures,
        again_in_s=round(pause, 1),
        error=f"{type(error).__name__}: {error}",
        exc_info=None if expected else error,
    )
    return pause


def start(ticking: Ticking, stopping: threading.Event) -> threading.Thread:
    """The loop in a thread of its own; a daemon, so that a tick that hangs cannot hold up the end of the process."""
    thread = threading.Thread(target=run, args=(ticking, stopping), name=ticking.name, daemon=True)
    thread.start()
    return thread
