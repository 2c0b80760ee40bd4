"""The schema's way up and down. The scripts lie in the wheel, or in the repository's `migrations/`; alembic is slow to
import, so it is imported where it is used. Every act raises `DatabaseUnavailable`, and none shows a password."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from webhook_app.domain.errors import DatabaseUnavailable, InvalidField
from webhook_app.store.engine import Store
from webhook_app.store.tables import Base

if TYPE_CHECKING:
    from alembic.config import Config

PACKAGE = Path(__file__).resolve().parent.parent
MIGRATION_LOCK = 0x57_41_4D_49  # Any constant: all who migrate an installation agree on it.
BASE = "base"
HEAD = "head"


def upgrade(url: str, revision: str = HEAD) -> None:
    """Bring the database to the revision; a SQLite file is made. Two at once are safe: the second finds nothing to do.
    A database ahead of this code stays as it is."""
    from alembic import command

    def act(connection: Connection, config: Config) -> None:
        if revision != HEAD or not _is_ahead(_revision(connection)):
            command.upgrade(config, revision)

    _migrate(url, revision, act)


def downgrade(url: str, revision: str) -> None:
    """Bring the database back to the revision, `base` for none."""
    from alembic import command

    _migrate(url, revision, lambda _, config: command.downgrade(config, revision))


def current(url: str) -> str | None:
    """The database's revision; None when it has none."""
    with _opened(url) as store, store.reading() as connection:
        return _revision(connection)


def head() -> str:
    """The newest revision that this code knows."""
    return max(_revisions())


def is_behind(revision: str | None) -> bool:
    """Whether the database needs an upgrade. A revision that this code does not know is of a newer one."""
    return revision is None or (revision != head() and revision in _revisions())


def check(url: str) -> list[str]:
    """What differs between the database and the tables as the code has them, a line each; empty when nothing does."""
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    with _opened(url) as store, store.reading() as connection:
        revision = _revision(connection)
        if revision != head():
            where = "ahead of" if _is_ahead(revision) else "behind"
            return [f"the database is at {revision or 'no revision'}, {where} {head()}"]
        context = MigrationContext.configure(
            connection, opts={"include_object": _comparable} if store.is_sqlite else None
        )
        # It warns of an index on an expression, which `_comparable` leaves out.
        logging.getLogger("alembic.ddl.impl").setLevel(logging.ERROR)
        return [str(difference) for difference in compare_metadata(context, Base.metadata)]


def _comparable(_object: Any, name: str | None, kind: str, _reflected: bool, _other: Any) -> bool:
    """SQLite's reflection loses the DESC of an index, so that this one seems to differ there."""
    return not (kind == "index" and name == "ix_jobs_claim")


def _revision(connection: Connection) -> str | None:
    from alembic.runtime.migration import MigrationContext

    revision: str | None = MigrationContext.configure(connection).get_current_revision()
    return revision


def _is_ahead(revision: str | None) -> bool:
    return revision is not None and revision not in _revisions()


def _migrate(url: str, revision: str, act: Callable[[Connection, Config], None]) -> None:
    from alembic.util import CommandError

    with _opened(url) as store, _file_lock(store), store.writing() as connection:
        _advisory_lock(connection)
        config = _config()
        config.attributes["connection"] = connection
        try:
            act(connection, config)
        except CommandError as error:
            raise InvalidField(f"No way to revision {revision} from {_revision(connection)}: {error}.") from error
        except DBAPIError as error:
            raise DatabaseUnavailable(f"The migration failed: {_first_line(error)}.") from error


def _first_line(error: DBAPIError) -> str:
    """Of the driver's own words: they name the object, not the statement nor the URL."""
    return str(error.orig).partition("\n")[0].rstrip(".")


@contextmanager
def _opened(url: str) -> Iterator[Store]:
    try:
        store = Store(url, pool_size=1)
    except (ArgumentError, ValueError):
        raise DatabaseUnavailable("The database's URL cannot be read.") from None  # The cause may show the password.
    try:
        yield store
    finally:
        store.dispose()


@contextmanager
def _file_lock(store: Store) -> Iterator[None]:
    """On SQLite: before the file is even opened, as two who make it and turn it to WAL at once get in each other's way
    without waiting. The folder is locked, so nothing is left behind."""
    if not store.is_sqlite or not store.url.database:
        yield
        return
    try:
        folder = os.open(Path(store.url.database).absolute().parent, os.O_RDONLY)
    except OSError as error:
        raise DatabaseUnavailable(f"The database's folder cannot be opened: {error.strerror}.") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _advisory_lock(connection: Connection) -> None:
    """On PostgreSQL: wait for whoever migrates, until this transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL lock_timeout = '5min'"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_scripts()).replace("%", "%%"))
    return config


def _scripts() -> Path:
    packaged = PACKAGE / "_migrations"
    return packaged if packaged.is_dir() else PACKAGE.parent / "migrations"


@cache
def _revisions() -> frozenset[str]:
    """All that this code knows: a script's name begins with its revision."""
    return frozenset(script.name.partition("_")[0] for script in (_scripts() / "versions").glob("[0-9]*_*.py"))
