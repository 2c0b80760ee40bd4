"""How jobs stand, for whoever waits: many who ask at the same time are answered by one query."""

from collections.abc import Callable, Collection, Mapping, Sequence
from enum import StrEnum

from flask import Flask

from webhook_app.domain.job import ARCHIVE_SETTLED, TERMINAL, ArchiveStatus, Status
from webhook_app.store import reads
from webhook_app.store.reads import State
from webhook_app.web.together import Together
from webhook_app.wiring import Parts


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


class States:
    """Reads how jobs stand, together with whoever else asks."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._together = Together(self._read)

    def of(self, track_ids: Collection[str]) -> dict[str, State]:
        """By track_id, as they are now, whoever they belong to; those that do not exist are left out. Raises
        `DatabaseUnavailable`."""
        return self._together.of(track_ids)

    def over(self, until: Until) -> Callable[[Collection[str]], bool]:
        """For whoever waits for one job: whether waiting is of no use any more."""

        def look(track_ids: Collection[str]) -> bool:
            found = self.of(track_ids)
            return all(nothing_more_comes(found.get(track_id), until) for track_id in track_ids)

        return look

    def _read(self, track_ids: Sequence[str]) -> Mapping[str, State]:
        with self._store.looking() as connection:
            return reads.states_of(connection, track_ids)


def states_of(app: Flask, parts: Parts) -> States:
    """The application's one reader, made when first asked for."""
    if "states" not in app.extensions:
        app.extensions["states"] = States(parts)
    found: States = app.extensions["states"]
    return found
