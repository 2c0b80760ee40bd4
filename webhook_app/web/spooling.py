"""Bringing spooled callbacks back from within the web process: its own, and those of processes that died here."""

import threading
import time

import structlog
from flask import Flask

from webhook_app.domain.errors import DatabaseUnavailable, StorageError
from webhook_app.flows import spool
from webhook_app.wiring import Parts

EVERY_S = 2.0
SCRUB_EVERY_S = 60.0
EXTENSION = "drainer"

log = structlog.get_logger(__name__)


class Drainer:
    """One daemon thread for each process, from `start` on; a fork leaves it behind. It drains every `every_s`."""

    def __init__(self, parts: Parts, *, every_s: float = EVERY_S) -> None:
        self._parts, self._every_s = parts, every_s
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._scrubbed_at = time.monotonic()

    def start(self) -> None:
        """Begin, or go on where the thread has died."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._begin(after_s=0.0)

    def stop(self) -> None:
        """End after the batch in hand."""
        with self._lock:
            self._stopping.set()
            thread = self._thread
        if thread is not None:
            thread.join(timeout=2 * self._every_s)

    def _begin(self, *, after_s: float) -> None:
        self._thread = threading.Thread(target=self._run, args=(after_s,), name="spool-drainer", daemon=True)
        self._thread.start()

    def _run(self, after_s: float) -> None:
        try:
            while not self._stopping.wait(after_s):
                self.drain()
                after_s = self._every_s
        finally:
            self._died()

    def _died(self) -> None:
        """Of an error that nobody foresaw, and its traceback is told. What waits in the spool needs a successor: the
        next callback that would start one may be far off."""
        with self._lock:
            if not self._stopping.is_set():
                self._begin(after_s=self._every_s)

    def drain(self) -> None:
        """Once, and each minute look after what was set aside: there may be no worker on this machine. What cannot be
        brought back now stays where it is."""
        try:
            drained = spool.drain(self._parts.store, self._parts.spool)
            if time.monotonic() - self._scrubbed_at > SCRUB_EVERY_S:
                spool.scrub(self._parts.store, self._parts.spool)
                self._scrubbed_at = time.monotonic()
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
