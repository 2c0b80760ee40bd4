"""Waking: tells whoever asks that jobs changed. LISTEN on PostgreSQL, the log's tail on SQLite, and in process at once.

A hint only: whoever is woken reads again, and sweeps on its own clock as well."""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Engine, create_engine, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from webhook_app.domain.errors import DatabaseUnavailable
from webhook_app.store.engine import Store
from webhook_app.store.events import CHANNEL
from webhook_app.store.tables import EventRow

TAIL_EVERY_S = 0.025
LISTEN_POLL_S = 1.0
RECONNECT_AFTER_S = 1.0
Hear = Callable[[set[str] | None], None]


class Wakeups:
    """Calls every subscriber with the track_ids that changed, or None for "something: read again". Start it after the
    fork."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._hearers: list[Hear] = []
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def subscribe(self, hear: Hear) -> None:
        """From now on `hear` is called, from this object's thread or a notifier's; it must not block."""
        self._hearers.append(hear)

    def start(self) -> None:
        """Begin to listen; calling it again does nothing."""
        with self._lock:
            if self._thread is None:
                target = self._tail if self._store.is_sqlite else self._listen
                self._thread = threading.Thread(target=target, name="wakeups", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End within a second."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=2 * LISTEN_POLL_S)

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
        with self._store.reading() as connection:
            if after is None:
                after = int(connection.scalar(select(func.coalesce(func.max(EventRow.position), 0))) or 0)
                self._tell(None)  # What happened before we listened is found by reading.
            newer = select(EventRow.position, EventRow.track_id).where(EventRow.position > after)
            rows = connection.execute(newer.order_by(EventRow.position).limit(1000)).all()
        if rows:
            self._tell({row.track_id for row in rows if row.track_id})
            after = rows[-1].position
        return after

    def _listen(self) -> None:
        # A connection of its own: LISTEN hears nothing through a transaction pooler.
        engine = create_engine(self._store.listen_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        while not self._stopping.is_set():
            try:
                self._hear_until_stopped(engine)
            except (DBAPIError, engine.dialect.loaded_dbapi.Error):
                # The driver's own errors too: notifications are read past SQLAlchemy.
                self._stopping.wait(RECONNECT_AFTER_S)
        engine.dispose()

    def _hear_until_stopped(self, engine: Engine) -> None:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"LISTEN {CHANNEL}")
            self._tell(None)  # What happened before we listened is found by reading.
            raw: Any = connection.connection.driver_connection
            while not self._stopping.is_set():
                for heard in raw.notifies(timeout=LISTEN_POLL_S, stop_after=1):
                    self._tell(set(heard.payload.split(",")))
                if raw.closed:
                    return
