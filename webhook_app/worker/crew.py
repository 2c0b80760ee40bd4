"""A fixed number of threads for work that waits for strangers (the provider, picture hosts)."""

import queue
import threading
import time
from collections.abc import Callable

import structlog

from webhook_app.worker.loop import caught

log = structlog.get_logger("webhook_app.worker")
Work = Callable[[], None]


class Crew:
    """`size` daemon threads. Ask `free` first: work beyond it would wait while its lease runs. `when_free` is called
    after each piece of work, from its thread."""

    def __init__(self, name: str, size: int, *, when_free: Callable[[], None]) -> None:
        self._name, self._when_free = name, when_free
        self._idle = threading.Condition()
        self._busy, self._size = 0, size
        self._waiting: queue.SimpleQueue[Work] = queue.SimpleQueue()
        for n in range(size):
            threading.Thread(target=self._work, name=f"{name}-{n}", daemon=True).start()

    @property
    def free(self) -> int:
        """How many pieces of work would begin at once."""
        with self._idle:
            return self._size - self._busy

    def do(self, work: Work) -> None:
        """Hand over a piece of work. What it raises is logged; its lease runs out and somebody takes it again."""
        with self._idle:
            self._busy += 1
        self._waiting.put(work)

    def wait_idle(self, timeout_s: float) -> bool:
        """True when everything in hand was finished within that time."""
        deadline = time.monotonic() + timeout_s
        with self._idle:
            return self._idle.wait_for(lambda: self._busy == 0, timeout=max(deadline - time.monotonic(), 0))

    def _work(self) -> None:
        while True:
            self._do_one(self._waiting.get())

    def _do_one(self, work: Work) -> None:
        def counted() -> int:
            work()
            return 1

        error = caught(counted)
        if isinstance(error, Exception):
            name = f"{type(error).__name__}: {error}"
            log.error("worker.work_failed", crew=self._name, error=name, exc_info=error)
        with self._idle:
            self._busy -= 1
            self._idle.notify_all()
        self._when_free()
