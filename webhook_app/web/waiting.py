"""Requests that wait for a change: registered first, then reading again, then asleep. A waiter holds no connection."""

import threading
import time
from collections.abc import Callable, Collection
from typing import Protocol

from flask import Flask

from webhook_app.domain.errors import TooManyWaiters
from webhook_app.store import listen
from webhook_app.wiring import Parts

RETRY_AFTER_S = 5


class Wakeups(Protocol):
    """What waiting asks of `store.listen`: to be called with the jobs that changed, or None for "something"."""

    def subscribe(self, hear: Callable[[set[str] | None], None], /) -> None: ...

    def start(self) -> None: ...


class Waiting:
    """The waiters of one process. Each sleeps on an event of its own and reads again when one of its jobs changed."""

    def __init__(self, wakeups: Wakeups, max_waiters: int) -> None:
        self._wakeups = wakeups
        self._max_waiters = max_waiters
        self._lock = threading.Lock()
        self._asleep: dict[str, set[threading.Event]] = {}
        self._count = 0
        self._draining = False
        wakeups.subscribe(self._hear)

    @property
    def count(self) -> int:
        """How many requests wait now."""
        return self._count

    @property
    def draining(self) -> bool:
        """True from SIGTERM on: this process answers what it has and takes no new waits."""
        return self._draining

    def wait_until(self, done: Callable[[], bool], track_ids: Collection[str], timeout_s: float) -> bool:
        """True as soon as `done()` is, False when the time is over or the process drains. `done` reads the database
        itself, on a connection that it gives back. Raises `TooManyWaiters` before waiting."""
        if timeout_s <= 0 or self._draining:
            return done()
        ends_at = time.monotonic() + timeout_s
        woken = threading.Event()
        self._enter(woken, track_ids)
        try:
            self._wakeups.start()
            while True:
                # Cleared before the reading: a change between the two wakes us again, and none is slept through.
                woken.clear()
                if done():
                    return True
                left_s = ends_at - time.monotonic()
                if left_s <= 0 or self._draining:
                    return False
                woken.wait(left_s)
        finally:
            self._leave(woken, track_ids)

    def drain(self) -> None:
        """End all waits, for good. Safe in a signal handler: the lock is taken by another thread."""
        self._draining = True
        threading.Thread(target=self._hear, args=(None,), name="drain", daemon=True).start()

    def _enter(self, woken: threading.Event, track_ids: Collection[str]) -> None:
        with self._lock:
            if self._count >= self._max_waiters:
                raise TooManyWaiters("Too many requests are waiting; ask again later.", retry_after_s=RETRY_AFTER_S)
            self._count += 1
            for track_id in track_ids:
                self._asleep.setdefault(track_id, set()).add(woken)

    def _leave(self, woken: threading.Event, track_ids: Collection[str]) -> None:
        with self._lock:
            self._count -= 1
            for track_id in set(track_ids):
                others = self._asleep[track_id]
                others.discard(woken)
                if not others:
                    del self._asleep[track_id]

    def _hear(self, track_ids: set[str] | None) -> None:
        with self._lock:
            wanted = self._asleep.keys() if track_ids is None else track_ids & self._asleep.keys()
            for woken in {event for track_id in wanted for event in self._asleep[track_id]}:
                woken.set()


def wakeups_of(app: Flask, parts: Parts) -> listen.Wakeups:
    """The application's one listener, made when first asked for; the first waiter starts it, after every fork."""
    if "wakeups" not in app.extensions:
        app.extensions["wakeups"] = listen.Wakeups(parts.store)
    found: listen.Wakeups = app.extensions["wakeups"]
    return found


def waiting_of(app: Flask, parts: Parts) -> Waiting:
    """The application's waiters, made when first asked for."""
    if "waiting" not in app.extensions:
        app.extensions["waiting"] = Waiting(wakeups_of(app, parts), parts.settings.max_waiters)
    found: Waiting = app.extensions["waiting"]
    return found
