"""Waking: tells whoever asks that something changed. LISTEN on PostgreSQL, the log's tail on SQLite, and in process at
once.

A hint only: whoever is woken reads again. LISTEN can be deaf without knowing it (a firewall that forgot the connection,
a transaction pooler in between): so it has to hear what this process tells itself as well, and while it does not,
everybody reads again every `PULSE_S`.
"""

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any
from uuid import uuid4

from sqlalchemy import Engine, bindparam, create_engine, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from webhook_app.domain.errors import DatabaseUnavailable
from webhook_app.store.bulk import table_of
from webhook_app.store.engine import CONNECT_TIMEOUT_S, GONE_SOON, Store
from webhook_app.store.events import CHANNEL
from webhook_app.store.log import FEED_CHANNEL
from webhook_app.store.tables import EventRow

TAIL_EVERY_S = 0.025
LISTEN_POLL_S = 0.5
RECONNECT_AFTER_S = 1.0
PULSE_S = 0.75  # One that is not heard before the next makes everybody read again: what happens is seen in 1.5 s.
LISTEN_AGAIN_AFTER_S = 5.0
# Without waiting for the disk: a pulse that is lost with the server is no loss.
PULSE = text("SELECT set_config('synchronous_commit', 'off', true), pg_notify(:channel, :number)")
NEVER_PREPARED = {"prepare_threshold": None}  # Whatever the URL says of it: that is in words of ours.
FEED = "feed"
EVENTS = table_of(EventRow)
LAST = select(func.max(EVENTS.c.position))
LAST_SEALED = select(func.max(EVENTS.c.seq))
NEWER = (
    select(EVENTS.c.position, EVENTS.c.track_id, EVENTS.c.batch_id)
    .where(EVENTS.c.position > bindparam("after"))
    .order_by(EVENTS.c.position)
    .limit(1000)
)
Hear = Callable[[set[str] | None], None]


class Wakeups:
    """Calls every subscriber with the ids of what changed (jobs, and batches that completed), or None for "something:
    read again"; with `feed` also with `FEED` when events were sealed. Start it after the fork."""

    def __init__(self, store: Store, *, feed: bool = False) -> None:
        self._store = store
        self._feed = feed
        self._sealed = 0
        self._hearers: list[Hear] = []
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._own_channel = f"{CHANNEL}_{uuid4().hex}"
        self._pulses_sent = self._pulse_heard = 0
        self._deaf = False

    def subscribe(self, hear: Hear) -> None:
        """From now on `hear` is called, from this object's thread or a notifier's; it must not block."""
        self._hearers.append(hear)

    def start(self) -> None:
        """Begin to listen; calling it again does nothing."""
        with self._lock:
            if not self._threads:
                for work in [self._tail] if self._store.is_sqlite else [self._listen, self._pulse]:
                    thread = threading.Thread(target=work, name=f"wakeups{work.__name__}", daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def stop(self) -> None:
        """End within a second."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=2 * PULSE_S)

    @property
    def deaf(self) -> bool:
        """Whether notifications do not arrive: then everybody reads again from time to time."""
        return self._deaf

    def notify(self, track_ids: Iterable[str]) -> None:
        """Wake this process's own subscribers at once, after a commit of its own."""
        self._tell(set(track_ids))

    def _tell(self, track_ids: set[str] | None) -> None:
        for hear in list(self._hearers):
            hear(track_ids)

    def _tail(self) -> None:
        after: int | None = None
        while not self._stopping.wait(TAIL_EVERY_S):
            try:
                after = self._read_tail(after)
            except DatabaseUnavailable:
                self._stopping.wait(RECONNECT_AFTER_S)

    def _read_tail(self, after: int | None) -> int:
        with self._store.looking() as connection:
            if after is None:
                after = int(connection.scalar(LAST) or 0)
                self._tell(None)  # What happened before we listened is found by reading.
            rows = connection.execute(NEWER, {"after": after}).all()
            sealed = int(connection.scalar(LAST_SEALED) or 0) if self._feed else 0
        if rows:
            self._tell({about for row in rows if (about := row.track_id or row.batch_id)})
            after = rows[-1].position
        if sealed != self._sealed:
            self._sealed = sealed
            self._tell({FEED})
        return after

    def _pulse(self) -> None:
        """Over the ordinary connections. Only what can be read is worth waking for: while the database is down, waits
        go on, and its return is heard by the listener."""
        while not self._stopping.wait(PULSE_S):
            self._deaf = self._pulse_heard < self._pulses_sent
            with suppress(DatabaseUnavailable):
                number = self._pulses_sent + 1
                with self._store.looking() as connection:
                    connection.execute(PULSE, {"channel": self._own_channel, "number": str(number)})
                self._pulses_sent = number
                if self._deaf:
                    self._tell(None)

    def _listen(self) -> None:
        # A connection of its own: LISTEN hears nothing through a transaction pooler.
        engine = create_engine(
            self._store.listen_url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={"connect_timeout": CONNECT_TIMEOUT_S} | GONE_SOON | NEVER_PREPARED,
        )
        while not self._stopping.is_set():
            try:
                self._hear_until_deaf(engine)
            except (DBAPIError, engine.dialect.loaded_dbapi.Error):
                # The driver's own errors too: notifications are read past SQLAlchemy.
                self._stopping.wait(RECONNECT_AFTER_S)
        engine.dispose()

    def _hear_until_deaf(self, engine: Engine) -> None:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"LISTEN {CHANNEL}")
            connection.exec_driver_sql(f"LISTEN {self._own_channel}")
            if self._feed:
                connection.exec_driver_sql(f"LISTEN {FEED_CHANNEL}")
            self._tell(None)  # What happened before we listened is found by reading.
            began_at = time.monotonic()
            raw: Any = connection.connection.driver_connection
            while not self._stopping.is_set():
                for heard in raw.notifies(timeout=LISTEN_POLL_S, stop_after=1):
                    if heard.channel == CHANNEL:
                        self._tell(set(heard.payload.split(",")) - {""})
                    elif heard.channel == FEED_CHANNEL:
                        self._tell({FEED})
                    else:
                        self._pulse_heard = int(heard.payload)
                if raw.closed or (self._deaf and time.monotonic() - began_at > LISTEN_AGAIN_AFTER_S):
                    return
