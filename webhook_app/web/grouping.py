"""Group commit: what was handed over while the last batch was written is the next one, and every request waits for its
own batch. One writer in each process.

There is no artificial delay (performance.md, section 2). Plain `threading` primitives only, so that the same code works
under threads and under gevent.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

MOST_IN_A_BATCH = 256
Item = TypeVar("Item")


@dataclass(eq=False, slots=True)
class Handed(Generic[Item]):
    """An item and the request that waits for it. `result` or `error` is there before `settled` is set; `abandoned`: the
    request waits no longer."""

    item: Item
    settled: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None
    result: Any = None
    abandoned: bool = False

    def settle(self, error: Exception | None, result: Any = None) -> None:
        """Let the request go on; only the first time counts."""
        if not self.settled.is_set():
            self.error, self.result = error, result
            self.settled.set()


class Group(Generic[Item]):
    """`write` settles a batch, in order of arrival; should it be interrupted, `interrupted` gets what it left. Two
    items with the same `key` never share a batch: the second is judged after the first. No more than `most_weight`
    waits. The writer starts with the first item."""

    def __init__(
        self,
        name: str,
        write: Callable[[list[Handed[Item]]], None],
        interrupted: Callable[[list[Handed[Item]]], None],
        *,
        key: Callable[[Item], Hashable],
        weight: Callable[[Item], int] = lambda item: 1,
        most_weight: int,
    ) -> None:
        self._name, self._write, self._interrupted = name, write, interrupted
        self._key, self._weight, self._most_weight = key, weight, most_weight
        self._reset()
        # A fork copies the queue but not the writer; the parent's items are the parent's.
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._pending: deque[Handed[Item]] = deque()
        self._waiting_weight = 0
        self._in_hand: list[Handed[Item]] = []
        self._writer: threading.Thread | None = None

    def hand_over(self, handed: Handed[Item]) -> bool:
        """False when so much waits already that this must not be kept in memory as well, or when nobody can be set to
        work."""
        with self._changed:
            if self._waiting_weight + self._weight(handed.item) > self._most_weight:
                return False
            try:
                self._keep_writing()
            except RuntimeError:  # The system has no thread left.
                return False
            self._pending.append(handed)
            self._waiting_weight += self._weight(handed.item)
            self._changed.notify_all()
        return True

    def take_back(self, handed: Handed[Item]) -> bool:
        """False when the writer has begun with it, or has done with it."""
        with self._changed:
            if handed not in self._pending:
                return False
            self._pending.remove(handed)
            self._waiting_weight -= self._weight(handed.item)
        return True

    def take_all_back(self) -> list[Handed[Item]]:
        """Everything that the writer has not begun with."""
        with self._changed:
            waiting = list(self._pending)
            self._pending = deque()
            self._waiting_weight = 0
        return waiting

    def finish(self, timeout_s: float) -> bool:
        """Wait until everything handed over is settled; False when that took longer."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._pending or self._in_hand), timeout_s)

    def _keep_writing(self) -> None:
        if self._writer is None or not self._writer.is_alive():
            self._writer = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._writer.start()

    def _run(self) -> None:
        try:
            while True:
                self._write(self._take())
        finally:
            self._died()

    def _died(self) -> None:
        """Nothing caught it (a thread killed from outside). The next writer takes over what is left."""
        with self._changed:
            in_hand, self._in_hand = self._in_hand, []
            self._writer = None
        left = [handed for handed in in_hand if not handed.settled.is_set()]
        if left:
            self._interrupted(left)
        with self._changed:
            if self._pending:
                self._keep_writing()

    def _take(self) -> list[Handed[Item]]:
        with self._changed:
            self._in_hand = []
            self._changed.notify_all()
            self._wait_for_some()
            left: deque[Handed[Item]] = deque()
            chosen: dict[Hashable, Handed[Item]] = {}
            for handed in self._pending:
                key = self._key(handed.item)
                if len(chosen) < MOST_IN_A_BATCH and key not in chosen:
                    chosen[key] = handed
                else:
                    left.append(handed)
            self._pending = left
            self._waiting_weight = sum(self._weight(handed.item) for handed in left)
            self._in_hand = list(chosen.values())
            return self._in_hand

    def _wait_for_some(self) -> None:
        while True:
            self._changed.wait_for(lambda: self._pending)
            self._let_others_in()
            if self._pending:  # It may have been taken back meanwhile.
                return

    def _let_others_in(self) -> None:
        """Give way once to the requests that are ready to hand over: no delay, a larger batch."""
        self._changed.release()
        time.sleep(0)
        self._changed.acquire()
