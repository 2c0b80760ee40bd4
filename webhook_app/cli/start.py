"""What every server verb begins with: the settings, the logs, and a database that fits the code."""

import os
import threading
from pathlib import Path
from signal import SIGINT, SIGTERM, signal
from typing import TYPE_CHECKING

from webhook_app.cli.exits import Exit, Stop
from webhook_app.settings import Settings, load_settings

if TYPE_CHECKING:
    from webhook_app.store.engine import Store
    from webhook_app.wiring import Parts

INTERRUPTED = 130


def settings_and_logs() -> Settings:
    """The settings, with the logs set up as they say."""
    from webhook_app import logs

    settings = load_settings()
    logs.configure(level=settings.log_level, form=settings.log_format, secrets=settings.secrets())
    return settings


def database_exists(settings: Settings) -> None:
    """End with 3 where SQLite's file is missing: only `demo`, `serve` and `db upgrade` make one."""
    path = settings.sqlite_path
    if path is not None and not path.is_file():
        advice = "webhook-app serve or webhook-app db upgrade makes it; DATABASE_URL and DATA_DIR say where"
        raise Stop(Exit.NOT_FOUND, f"no database at {path} ({advice})")


def database_fits(settings: Settings) -> str:
    """Refuse a database behind the code, accept one ahead. Returns its revision."""
    database_exists(settings)
    from webhook_app.store import migrations

    revision = migrations.current(settings.database_url)
    if revision is None or migrations.is_behind(revision):
        where = revision or "empty"
        raise Stop(Exit.FAILED, f"the database is {where}, the program at {migrations.head()}: webhook-app db upgrade")
    return revision


def open_store(settings: Settings) -> "Store":
    """The database of an installation, checked."""
    from webhook_app.store.engine import Store

    database_fits(settings)
    return Store(settings.database_url)


def open_parts() -> "Parts":
    """The parts of this installation, its database checked."""
    from webhook_app.wiring import build

    settings = settings_and_logs()
    database_fits(settings)
    return build(settings)


def warn_of_sqlite(settings: Settings) -> None:
    """Say that this SQLite may lose a commit, where it may."""
    from webhook_app.cli.output import say
    from webhook_app.store.engine import sqlite_is_safe, sqlite_module

    if settings.is_sqlite and not sqlite_is_safe():
        version = sqlite_module().sqlite_version
        say(f"warning: SQLite {version} can lose a commit when several processes write; 3.51.3 and newer cannot")


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set; a second signal ends the process at once. For the main thread.

    The handler only writes to a pipe: setting the event there could wait for a lock that the interrupted code holds.
    """
    stop = threading.Event()
    heard, told = os.pipe()

    def listen() -> None:
        os.read(heard, 1)
        stop.set()
        os.read(heard, 1)
        os._exit(INTERRUPTED)

    threading.Thread(target=listen, name="signals", daemon=True).start()
    for number in (SIGTERM, SIGINT):
        signal(number, lambda *_: os.write(told, b"."))
    return stop


def relative(path: Path) -> str:
    """The path as a person here would type it."""
    try:
        return os.path.join(".", path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
