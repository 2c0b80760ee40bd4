"""`worker`: the clock's door. Submits, polls, archives, numbers the log."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from webhook_app.cli.collector import kept_for_good
from webhook_app.cli.exits import Exit, Stop, explained
from webhook_app.cli.output import output_option, say
from webhook_app.cli.start import database_fits, settings_and_logs, stop_on_signals, warn_of_sqlite
from webhook_app.domain.errors import DatabaseUnavailable, StorageError

if TYPE_CHECKING:
    from webhook_app.storage.port import Storage

DATABASE_AGAIN_S = 2.0
Did = TypeVar("Did")


@click.command()
@output_option
def worker(output: str) -> None:
    """Send jobs to the provider, ask about silent ones, copy pictures, number the log.

    Any number of workers on PostgreSQL; one on SQLite, a second one ends with 5.
    """
    with kept_for_good():
        from webhook_app.wiring import build
        from webhook_app.worker.service import SecondWorker, announce_key, only_worker, work

    settings = settings_and_logs()
    stop = stop_on_signals()
    if _patiently(stop, lambda: database_fits(settings)) is None:
        return
    warn_of_sqlite(settings)
    if not settings.callbacks_possible:
        say(f"WARNING: {settings.callback_base_url} is not https: no callbacks, the provider is polled alone")
    try:
        with only_worker(settings.sqlite_path):
            parts = build(settings)
            has_key = _patiently(stop, lambda: announce_key(parts))
            if has_key is None:
                return
            if not has_key:
                say("MODELSLAB_API_KEY is not set: the provider is paused, jobs are taken and wait")
            # Beside the work: a bucket that is away takes its time to say so, and jobs need no archive yet.
            threading.Thread(target=_warn_of_archive, args=(parts.storage,), name="archive-check", daemon=True).start()
            work(parts, stop)
    except SecondWorker as error:
        raise Stop(Exit.CONFLICT, str(error)) from error


def _patiently(stop: threading.Event, act: Callable[[], Did]) -> Did | None:
    """What it returns, once the database answers; None when `stop` comes first. A worker outlives whatever happens to
    its database, at its start as well."""
    while True:
        try:
            return act()
        except DatabaseUnavailable as error:
            say(f"{explained(error)}; trying again")
        if stop.wait(DATABASE_AGAIN_S):
            return None


def _warn_of_archive(storage: "Storage") -> None:
    try:
        storage.check()
    except StorageError as error:
        say(f"warning: {error}; pictures wait until it can be used")
