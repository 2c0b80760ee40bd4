"""The sealed log for those who follow it: one reader for each process, however many they are.

While anybody follows, that reader fetches what was sealed, keeps the newest of it, and wakes those whom it concerns.
Who is further behind reads the database. Nobody holds a connection while they wait.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from flask import Flask

from webhook_app.domain.errors import DatabaseUnavailable
from webhook_app.flows import show
from webhook_app.store import reads
from webhook_app.store.engine import Store
from webhook_app.store.listen import FEED
from webhook_app.web.respond import dumps
from webhook_app.web.waiting import Waiting, waiting_of, wakeups_of
from webhook_app.wiring import Parts

KEPT = 2_000
READ_AT_ONCE = 500
SWEEP_S = 1.0
# How far one request looks for types that may be rare.
LOOKS_THROUGH = 20_000
EVERYONE, STARTED = f"{FEED}:*", f"{FEED}:started"


class Entry(NamedTuple):
    """A sealed event, written once for all who get it."""

    seq: int
    type: str
    track_id: str | None
    client_id: str | None
    json: bytes


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one follower gets: a job's events, or those of a client, None for everyone's; of these types, or of all."""

    client_id: str | None = None
    track_id: str | None = None
    types: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        """What wakes this follower."""
        return f"{FEED}:{self.track_id or self.client_id or '*'}"

    def takes(self, entry: Entry) -> bool:
        if self.types and entry.type not in self.types:
            return False
        if self.track_id is not None:
            return entry.track_id == self.track_id
        return self.client_id is None or entry.client_id == self.client_id


@dataclass(frozen=True, slots=True)
class Page:
    """`next_after` is the last `seq` that was looked at, taken or not."""

    entries: Sequence[Entry]
    next_after: int
    has_more: bool


class Feed:
    """The followers' side of one process. Start it by following, after the fork."""

    def __init__(self, store: Store, waiting: Waiting) -> None:
        self._store, self._waiting = store, waiting
        self._lock = threading.Lock()
        self._heard = threading.Event()
        self._reader: threading.Thread | None = None
        self._followers = 0
        self._recent: list[Entry] = []
        self._last: int | None = None  # What the reader has read up to; None while it does not read.

    def hear(self, keys: set[str] | None) -> None:
        """Events may have been sealed."""
        if keys is None or FEED in keys:
            self._heard.set()

    def end(self) -> reads.LogEnd:
        """The log's end, from the database."""
        with self._store.looking() as connection:
            return reads.log_end(connection)

    @contextmanager
    def following(self) -> Iterator[None]:
        """While anybody is in this block, what is sealed is read as it comes."""
        with self._lock:
            self._followers += 1
            if self._reader is None:
                self._reader = threading.Thread(target=self._read_on, name="feed", daemon=True)
                self._reader.start()
        try:
            yield
        finally:
            with self._lock:
                self._followers -= 1
            self._heard.set()

    def wait(self, after: int, wanted: Wanted, limit: int, sleep: Callable[..., bool], timeout_s: float) -> Page:
        """What comes after that `seq`, as soon as anything does, else an empty page when the time is over. `sleep` is
        `Waiting.wait_until` or `wait_in_place`. Raises `DatabaseUnavailable`."""
        page = Page((), after, False)

        def look(_: Collection[str]) -> bool:
            nonlocal page
            page = self.page(page.next_after, wanted, limit)
            return bool(page.entries) or page.has_more

        with self.following():
            sleep(look, [wanted.key, STARTED], timeout_s)
        return page

    def page(self, after: int, wanted: Wanted, limit: int) -> Page:
        """What is there after that `seq`: from memory where that reaches back so far."""
        with self._lock:
            recent = self._since(after)
        return self.read(after, wanted, limit) if recent is None else _page(recent, after, wanted, limit)

    def read(self, after: int, wanted: Wanted, limit: int, end: int | None = None) -> Page:
        """What is there after that `seq`, from the database; up to its `end` where that is known."""
        with self._store.looking() as connection:
            end = reads.log_end(connection).seq if end is None else end
            bounded = wanted.types and wanted.track_id is None
            up_to = max(min(end, after + LOOKS_THROUGH) if bounded else end, after)
            rows = reads.sealed_events(
                connection,
                after=after,
                up_to=up_to,
                client_id=wanted.client_id,
                track_id=wanted.track_id,
                types=wanted.types,
                limit=limit + 1,
            )
        entries = [_entry(row) for row in rows[:limit]]
        if len(rows) > limit:
            return Page(entries, entries[-1].seq, True)
        return Page(entries, up_to, up_to < end)

    def _since(self, after: int) -> Sequence[Entry] | None:
        """The kept entries behind that `seq`, None where they do not reach back to it. `seq` has no gaps."""
        if self._last is None or after < self._last - len(self._recent):
            return None
        newer = self._last - after
        return self._recent[-newer:] if newer > 0 else ()

    def _read_on(self) -> None:
        """The reader. It ends when nobody follows any more."""
        while True:
            self._heard.wait(SWEEP_S)
            self._heard.clear()
            with self._lock:
                if self._followers == 0:
                    self._recent, self._last, self._reader = [], None, None
                    return
            try:
                self._catch_up()
            except DatabaseUnavailable:
                # Who wants to read meanwhile is told so; when it is back, there may be more than is worth keeping.
                with self._lock:
                    self._recent, self._last = [], None

    def _catch_up(self) -> None:
        if self._last is None:
            last = self.end().seq
            with self._lock:
                self._recent, self._last = [], last
            self._waiting.wake({STARTED})  # Followers may have read just before that.
        while True:
            with self._store.looking() as connection:
                rows = reads.sealed_events(connection, after=self._last or 0, limit=READ_AT_ONCE)
            if rows:
                self._keep([_entry(row) for row in rows])
            if len(rows) < READ_AT_ONCE:
                return

    def _keep(self, entries: list[Entry]) -> None:
        with self._lock:
            self._recent = (self._recent + entries)[-KEPT:]
            self._last = entries[-1].seq
        concerned = {name for entry in entries for name in (entry.track_id, entry.client_id) if name}
        self._waiting.wake({EVERYONE, *(f"{FEED}:{name}" for name in concerned)})


def _entry(row: dict[str, Any]) -> Entry:
    return Entry(row["seq"], row["type"], row["track_id"], row["client_id"], dumps(show.event(row)))


def _page(recent: Sequence[Entry], after: int, wanted: Wanted, limit: int) -> Page:
    taken: list[Entry] = []
    for entry in recent:
        if wanted.takes(entry):
            if len(taken) == limit:
                return Page(taken, taken[-1].seq, True)
            taken.append(entry)
    return Page(taken, recent[-1].seq if recent else after, False)


def feed_of(app: Flask, parts: Parts) -> Feed:
    """The application's one feed, made when first asked for."""
    if "feed" not in app.extensions:
        feed = Feed(parts.store, waiting_of(app, parts))
        wakeups_of(app, parts).subscribe(feed.hear)
        app.extensions["feed"] = feed
    found: Feed = app.extensions["feed"]
    return found
