"""Bringing spooled callbacks back from within the web process: its own, and those of processes that died here."""

import threading

import structlog
from flask import Flask

from webhook_app.domain.errors import DatabaseUnavailable, StorageError
from webhook_app.flows import spool
from webhook_app.wiring import Parts

EVERY_S = 2.0
EXTENSION = "drainer"

log = structlog.get_logger(__name__)


class Drainer:
    """One daemon thread for each process, from `start` on; a fork leaves it behind."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin, or go on where the thread has died."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="spool-drainer", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End after the batch in hand."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=2 * EVERY_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.drain()
            self._stopping.wait(EVERY_S)

    def drain(self) -> None:
        """Once. What cannot be brought back now stays where it is."""
        try:
            drained = spool.drain(self._parts.store, self._parts.spool)
        except DatabaseUnavailable:
            return
        except StorageError as error:
            log.error("spool.failed", error=str(error))
            return
        if drained.handed_over or drained.unreadable:
            log.info("spool.drained", callbacks=drained.handed_over, unreadable=drained.unreadable)


def drainer_of(app: Flask, parts: Parts) -> Drainer:
    """This application's drainer, not yet started."""
    drainer: Drainer = app.extensions.setdefault(EXTENSION, Drainer(parts))
    return drainer
