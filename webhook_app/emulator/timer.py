"""Runs things when their time has come: one thread, one heap. What it runs must be short."""

import heapq
import itertools
import threading
import time
from collections.abc import Callable


class Timer:
    """`at(when, act)` with `when` on the clock of `now()` (monotonic seconds)."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._turn = itertools.count()
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="emulator-timer", daemon=True).start()

    @staticmethod
    def now() -> float:
        return time.monotonic()

    def at(self, when: float, act: Callable[[], None]) -> None:
        """Acts with equal times run in the order in which they came."""
        with self._changed:
            heapq.heappush(self._heap, (when, next(self._turn), act))
            self._changed.notify()

    def _run(self) -> None:
        while True:
            self._next()()

    def _next(self) -> Callable[[], None]:
        with self._changed:
            while not self._heap or self._heap[0][0] > self.now():
                self._changed.wait(self._heap[0][0] - self.now() if self._heap else None)
            return heapq.heappop(self._heap)[2]
