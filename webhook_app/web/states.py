"""How jobs stand, for whoever waits: many who ask at the same time are answered by one query."""

import threading
from collections.abc import Callable, Collection, Mapping
from enum import StrEnum

from flask import Flask

from webhook_app.domain.errors import DatabaseUnavailable
from webhook_app.domain.job import ARCHIVE_SETTLED, TERMINAL, ArchiveStatus, Status
from webhook_app.store import reads
from webhook_app.store.reads import State
from webhook_app.wiring import Parts

MOST_AT_ONCE = 10_000  # SQLite takes 32,766 parameters.


class Until(StrEnum):
    """What a wait waits for: the job's end, or the end of its archiving as well."""

    TERMINAL = "terminal"
    ARCHIVED = "archived"


def is_over(status: Status, archive_status: ArchiveStatus, until: Until) -> bool:
    """Whether a wait of this kind has come to its end. Nothing to archive counts as archived."""
    if status not in TERMINAL:
        return False
    return until is Until.TERMINAL or archive_status is ArchiveStatus.NONE or archive_status in ARCHIVE_SETTLED


def nothing_more_comes(state: State | None, until: Until) -> bool:
    """Whether waiting for this job is of no use any more; an erased one, or none at all, has no end to come."""
    return state is None or state.erased or is_over(state.status, state.archive_status, until)


class _Batch:
    """Those who ask together, and what they are told."""

    __slots__ = ("error", "found", "track_ids")

    def __init__(self) -> None:
        self.track_ids: set[str] = set()
        self.found: Mapping[str, State] | None = None
        self.error: DatabaseUnavailable | None = None


class States:
    """Reads how jobs stand, one query at a time: who asks while it runs is in the next one. A thousand waiters that
    one commit has woken need one connection and two queries."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._lock, self._reading = threading.Lock(), threading.Lock()
        self._next = _Batch()

    def of(self, track_ids: Collection[str]) -> dict[str, State]:
        """By track_id, as they are now; those that do not exist are left out. Raises `DatabaseUnavailable`."""
        with self._lock:
            batch = self._next
            batch.track_ids.update(track_ids)
        with self._reading:
            if batch.found is None and batch.error is None:
                self._read(batch)
        if batch.error is not None:
            # An error of one's own: a thousand raising the same one would lengthen its traceback a thousand times.
            raise DatabaseUnavailable(batch.error.detail, retry_after_s=batch.error.retry_after_s) from batch.error
        found = batch.found or {}
        return {track_id: found[track_id] for track_id in track_ids if track_id in found}

    def over(self, until: Until) -> Callable[[Collection[str]], bool]:
        """For whoever waits for one job: whether waiting is of no use any more."""

        def look(track_ids: Collection[str]) -> bool:
            found = self.of(track_ids)
            return all(nothing_more_comes(found.get(track_id), until) for track_id in track_ids)

        return look

    def _read(self, batch: _Batch) -> None:
        with self._lock:
            self._next = _Batch()  # From here on nobody joins: what changes after this is for the next one to see.
        try:
            found: dict[str, State] = {}
            wanted = sorted(batch.track_ids)
            with self._store.looking() as connection:
                for start in range(0, len(wanted), MOST_AT_ONCE):
                    found |= reads.states_of(connection, wanted[start : start + MOST_AT_ONCE])
            batch.found = found
        except DatabaseUnavailable as error:
            batch.error = error


def states_of(app: Flask, parts: Parts) -> States:
    """The application's one reader, made when first asked for."""
    if "states" not in app.extensions:
        app.extensions["states"] = States(parts)
    found: States = app.extensions["states"]
    return found
