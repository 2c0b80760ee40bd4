"""The database: engine, pragmas, and the kinds of transaction. Nothing here knows a table."""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, PoolProxiedConnection, create_engine, event, make_url
from sqlalchemy.exc import DataError, DBAPIError, DisconnectionError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from webhook_app.domain.errors import DatabaseBusy, DatabaseUnavailable, Unstorable

FIRST_SAFE_SQLITE = (3, 51, 3)  # Before it, two WAL connections can lose a commit (the "WAL reset" race).
HAS_UNHEX = (3, 41, 0)
LOCK_TIMEOUT_MS = 2_000
STATEMENT_TIMEOUT_MS = 30_000
BUSY_TIMEOUT_MS = 10_000
# A plan lives as long as its connection, and one made while the tables were small reads them whole until the next
# ANALYZE (seen: 5.0 ms of the database for a callback among 6,000 jobs, 1.4 so). Nearly every question has its index.
BY_INDEX = dict.fromkeys(("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit"), "off")
OF_A_SESSION = {
    "timezone": "UTC",
    "lock_timeout": LOCK_TIMEOUT_MS,
    "statement_timeout": STATEMENT_TIMEOUT_MS,
    **BY_INDEX,
}
CONNECT_TIMEOUT_S = 3
# A line that was cut without a word (a firewall that forgot it, a failover) is known for dead within 10 s.
GONE_SOON = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000}
CHECKPOINT_TIMEOUT_MS = 500  # Writers wait while it waits for readers.
PING_AFTER_S = 1.0
READ_ONLY = "25006"
# undefined_table, undefined_column. SQLite has no codes: there both are an OperationalError, and so come out the same.
BEHIND = frozenset({"42P01", "42703"})
# lock_not_available, deadlock_detected, serialization_failure, query_canceled: the same again may succeed.
BUSY = frozenset({"55P03", "40P01", "40001", "57014"})


def sqlite_module() -> ModuleType:
    """The newer of the interpreter's SQLite and pysqlite3's."""
    try:
        from pysqlite3 import dbapi2
    except ImportError:
        return sqlite3
    newer: ModuleType = dbapi2
    return newer if dbapi2.sqlite_version_info > sqlite3.sqlite_version_info else sqlite3


def sqlite_is_safe() -> bool:
    """Whether the SQLite in use has the fix for the WAL reset race."""
    version: tuple[int, ...] = sqlite_module().sqlite_version_info
    backports = {(3, 50): (3, 50, 7), (3, 44): (3, 44, 6)}
    return version >= backports.get((version[0], version[1]), FIRST_SAFE_SQLITE)


class Store:
    """One database. `writing()` commits at the end of its block; `reading()` never writes."""

    def __init__(self, url: str, *, pool_size: int = 10, listen_url: str | None = None) -> None:
        self.url = make_url(normalised(url))
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.listen_url = make_url(normalised(listen_url)) if listen_url else self.url
        self.engine = _sqlite_engine(self.url, pool_size) if self.is_sqlite else _postgresql_engine(self.url, pool_size)
        self._writing = self.engine.execution_options(immediate=True)
        alone = {"unbound": True} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}
        self._driver = self.engine.dialect.loaded_dbapi
        self._looking = self.engine.execution_options(**alone)  # The same pool.

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction that may write. On SQLite it takes the write lock at once, so it never fails half-way for
        it."""
        with self._translated(), self._writing.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def trying(self) -> Iterator[Connection]:
        """One transaction that may write and is rolled back at the end of its block: to see what it would do."""
        with self.writing() as connection:
            yield connection
            connection.rollback()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view; holds no write lock."""
        with self._translated(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def looking(self) -> Iterator[Connection]:
        """Single reads that need no common view: without a transaction, whose beginning and end cost as much as a
        statement."""
        with self._translated(), self._looking.connect() as connection:
            yield connection

    @contextmanager
    def driving(self) -> Iterator[Any]:
        """The driver's own connection, from the same pool, for single reads in no transaction: for those that are asked
        so often that what SQLAlchemy does for each counts."""
        with self._translated():
            pooled = self.engine.raw_connection()
            try:
                if not self.is_sqlite:
                    pooled.driver_connection.autocommit = True  # type: ignore[union-attr]
                yield pooled.driver_connection
            except DBAPIError as error:
                if error.connection_invalidated:
                    pooled.invalidate(error)
                raise
            finally:
                if pooled.is_valid:
                    self._return(pooled)

    def _return(self, pooled: PoolProxiedConnection) -> None:
        try:
            if not self.is_sqlite:
                pooled.driver_connection.autocommit = False  # type: ignore[union-attr]
        except self._driver.Error as error:  # It is lost, or its statement was interrupted and still runs.
            pooled.invalidate(error)
        else:
            pooled.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Errors in our words, whether SQLAlchemy ran the statement or the driver alone."""
        try:
            try:
                yield
            except self._driver.Error as error:
                dialect = self.engine.dialect
                lost = dialect.is_disconnect(error, None, None)
                raise DBAPIError.instance(
                    None, None, error, self._driver.Error, connection_invalidated=lost, dialect=dialect
                ) from error
        except (OperationalError, PoolTimeout) as error:
            raise _away(error) from error
        except DBAPIError as error:
            _raise_ours(error)
            raise

    def truncate_log(self) -> bool:
        """Bring SQLite's write-ahead log into the database and empty it: it holds pages as they were before. False when
        readers were in the way. PostgreSQL sees to its own."""
        if not self.is_sqlite:
            return True
        with self._translated(), contextlib.closing(self.engine.raw_connection()) as raw:
            cursor = raw.cursor()
            cursor.execute(f"PRAGMA busy_timeout = {CHECKPOINT_TIMEOUT_MS}")
            try:
                busy, *_ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        return not busy

    def dispose(self) -> None:
        """Close every pooled connection; needed after a fork."""
        self.engine.dispose()

    def describe(self) -> str:
        """For people: the database without its password."""
        return self.url.render_as_string(hide_password=True)


def normalised(url: str) -> str:
    """`postgres://` and `postgresql://` mean psycopg 3."""
    for prefix in ("postgres://", "postgresql://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    return url


def _away(error: OperationalError | PoolTimeout) -> DatabaseUnavailable:
    if getattr(getattr(error, "orig", None), "sqlstate", None) in BUSY:
        return DatabaseBusy("The database is too busy.", retry_after_s=1)
    away = DatabaseUnavailable("The database cannot be reached or is too busy.", retry_after_s=5)
    # For whoever set it up; the driver names the server and the user, so that a client must not see it.
    away.add_note(" ".join(str(getattr(error, "orig", error)).split()))
    return away


def _raise_ours(error: DBAPIError) -> None:
    """Raise what we call this; return where we have no word for it."""
    sqlstate = getattr(error.orig, "sqlstate", None)
    if error.connection_invalidated:
        raise DatabaseUnavailable("The connection to the database was lost.", retry_after_s=5) from error
    if sqlstate == READ_ONLY:
        raise DatabaseUnavailable("The database only reads: a failover?", retry_after_s=5) from error
    if sqlstate in BEHIND:
        raise DatabaseUnavailable("The database is behind this program.", retry_after_s=5) from error
    if isinstance(error, DataError | IntegrityError):
        raise Unstorable("the database refuses these values") from error


def _dumps(value: Any) -> str:
    return orjson.dumps(value).decode()


def _sqlite_engine(url: Any, pool_size: int) -> Engine:
    engine = create_engine(
        url,
        module=sqlite_module(),
        hide_parameters=True,  # A callback's body or a prompt must not come into a log with an error.
        json_serializer=_dumps,
        json_deserializer=orjson.loads,
        pool_size=pool_size,
        max_overflow=50,
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _prepare(raw: Any, _record: Any) -> None:
        raw.isolation_level = None  # We say BEGIN ourselves.
        if sqlite_module().sqlite_version_info < HAS_UNHEX:
            raw.create_function("unhex", 1, lambda text: None if text is None else bytes.fromhex(text))
        cursor = raw.cursor()
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",  # An acknowledged callback survives a power cut.
            "foreign_keys = ON",
            "secure_delete = ON",  # What was erased, or was there before a change, is overwritten with zeros.
            f"busy_timeout = {BUSY_TIMEOUT_MS}",
            "wal_autocheckpoint = 4000",  # Pages: the same few of each index go into the database once, not four times.
            "journal_size_limit = 67108864",
            "cache_size = -16384",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if not options.get("unbound", False):
            # Not `exec_driver_sql`: SQLAlchemy's part of it costs more than the BEGIN.
            driver: Any = connection.connection.driver_connection
            driver.execute("BEGIN IMMEDIATE" if options.get("immediate", False) else "BEGIN")

    return engine


def _postgresql_engine(url: Any, pool_size: int) -> Engine:
    engine = create_engine(
        url,
        hide_parameters=True,  # A callback's body or a prompt must not come into a log with an error.
        json_serializer=_dumps,
        json_deserializer=orjson.loads,
        pool_size=pool_size,
        max_overflow=20,
        pool_use_lifo=True,  # The one whose statements are prepared and whose memory is warm.
        pool_timeout=5,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "prepare_threshold": None if url.query.get("prepare_threshold") == "none" else 5,
            "options": " ".join(f"-c {name}={value}" for name, value in OF_A_SESSION.items()),
            "application_name": "webhook-app",
            **GONE_SOON,
        },
    )

    @event.listens_for(engine, "checkin")
    def _note(_raw: Any, record: Any) -> None:
        record.info["idle_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _ping(raw: Any, record: Any, _proxy: Any) -> None:
        """Ask a connection that lay idle whether it still lives: a round trip that a busy one need not pay."""
        if time.monotonic() - record.info.get("idle_since", 0.0) > PING_AFTER_S:
            try:
                engine.dialect.do_ping(raw)
            except engine.dialect.loaded_dbapi.Error as error:
                raise DisconnectionError from error  # The pool makes another one.

    return engine
