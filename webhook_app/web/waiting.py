"""Requests that wait for a change: registered first, then reading again, then asleep. A waiter holds no connection."""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from flask import Flask

from webhook_app.domain.errors import TooManyWaiters
from webhook_app.store import listen
from webhook_app.wiring import Parts

RETRY_AFTER_S = 5
ANSWERS_AT_ONCE = 8
# Beyond that many keys a wait takes the place of several: whatever wakes it has them all to look at.
KEYS_OF_A_PLACE = 50
Look = Callable[[Collection[str]], bool]


class Wakeups(Protocol):
    """What waiting asks of `store.listen`: to be called with the keys that changed, or None for "something"."""

    def subscribe(self, hear: Callable[[set[str] | None], None], /) -> None: ...

    def start(self) -> None: ...


class Sleeper:
    """One waiting request: what it waits for, and what of that may have changed since it looked last."""

    __slots__ = ("changed", "keys", "woken")

    def __init__(self, keys: Iterable[str]) -> None:
        self.keys = frozenset(keys)
        self.changed: set[str] = set()
        self.woken = threading.Event()


class Waiting:
    """The waiters of one process. Each sleeps on an event of its own and reads again what changed of its keys: the
    track_ids of jobs, or whatever else `store.listen` tells."""

    def __init__(self, wakeups: Wakeups, max_waiters: int) -> None:
        self._wakeups = wakeups
        self._max_waiters = max_waiters
        self._lock = threading.Lock()
        self._asleep: dict[str, set[Sleeper]] = {}
        self._count = self._taken = 0
        self._draining = False
        self._answering = threading.Semaphore(ANSWERS_AT_ONCE)
        wakeups.subscribe(self.wake)

    @property
    def count(self) -> int:
        """How many requests wait now."""
        return self._count

    @property
    def draining(self) -> bool:
        """True from SIGTERM on: this process answers what it has and takes no new waits."""
        return self._draining

    def wait_until(self, done: Look, keys: Collection[str], timeout_s: float) -> bool:
        """True as soon as `done(news)` is, False when the time is over or the process drains. `news` are the keys to
        look at: all of them at first and at last, in between those that changed. `done` reads the database itself, on a
        connection that it gives back. Raises `TooManyWaiters` before waiting."""
        if timeout_s <= 0 or self._draining:
            return done(keys)
        with self.place(len(keys)):
            return self.wait_in_place(done, keys, timeout_s)

    @contextmanager
    def place(self, keys: int = 1) -> Iterator[None]:
        """Count as a waiter for so many keys for the length of the block, asleep or not. Raises `TooManyWaiters`."""
        places = max(min(1 + keys // KEYS_OF_A_PLACE, self._max_waiters), 1)
        with self._lock:
            if self._taken + places > self._max_waiters:
                raise TooManyWaiters("Too many requests are waiting; ask again later.", retry_after_s=RETRY_AFTER_S)
            self._taken += places
            self._count += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken -= places
                self._count -= 1

    def wait_in_place(self, done: Look, keys: Collection[str], timeout_s: float) -> bool:
        """`wait_until` for who has a place already."""
        ends_at = time.monotonic() + timeout_s
        sleeper = Sleeper(keys)
        self._enter(sleeper)
        try:
            self._wakeups.start()
            news: Collection[str] = sleeper.keys
            while not done(news):
                left_s = ends_at - time.monotonic()
                if left_s <= 0 or self._draining:
                    return False
                news = self._sleep(sleeper, left_s)
            return True
        finally:
            self._leave(sleeper)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """For reading the answer after a wait: thousands may be woken at once, and must leave the database's
        connections to the callbacks."""
        with self._answering:
            yield

    def drain(self) -> None:
        """End all waits, for good. Safe in a signal handler: the lock is taken by another thread."""
        self._draining = True
        threading.Thread(target=self.wake, args=(None,), name="drain", daemon=True).start()

    def _enter(self, sleeper: Sleeper) -> None:
        with self._lock:
            for key in sleeper.keys:
                self._asleep.setdefault(key, set()).add(sleeper)

    def _leave(self, sleeper: Sleeper) -> None:
        with self._lock:
            for key in sleeper.keys:
                others = self._asleep[key]
                others.discard(sleeper)
                if not others:
                    del self._asleep[key]

    def _sleep(self, sleeper: Sleeper, most_s: float) -> Collection[str]:
        """What changed meanwhile; everything when nobody said so."""
        sleeper.woken.wait(most_s)
        with self._lock:
            # In one step, and before the reading: a change after it wakes again, and none is slept through.
            sleeper.woken.clear()
            news, sleeper.changed = sleeper.changed, set()
        return news or sleeper.keys

    def wake(self, keys: set[str] | None) -> None:
        """Let those who sleep for one of these keys look again; None: all of them."""
        with self._lock:
            for key in self._asleep if keys is None else keys & self._asleep.keys():
                for sleeper in self._asleep[key]:
                    sleeper.changed.add(key)
                    sleeper.woken.set()


def wakeups_of(app: Flask, parts: Parts) -> listen.Wakeups:
    """The application's one listener, made when first asked for; the first waiter starts it, after every fork."""
    if "wakeups" not in app.extensions:
        app.extensions["wakeups"] = listen.Wakeups(parts.store, feed=True)
    found: listen.Wakeups = app.extensions["wakeups"]
    return found


def waiting_of(app: Flask, parts: Parts) -> Waiting:
    """The application's waiters, made when first asked for."""
    if "waiting" not in app.extensions:
        app.extensions["waiting"] = Waiting(wakeups_of(app, parts), parts.settings.max_waiters)
    found: Waiting = app.extensions["waiting"]
    return found
