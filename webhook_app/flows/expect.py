"""What to expect of a job, from the counters of the last day: read now and then in the background, so that no request
and no callback pays for it."""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from webhook_app.domain.errors import DatabaseUnavailable
from webhook_app.domain.estimates import ANY, Estimate, History, kind_of, learned
from webhook_app.store import reads
from webhook_app.store.engine import Store

KNOWN_FOR_S = 15.0


class Expectations:
    """One process's knowledge of how long jobs take. Nothing is known at first; whoever asks has it refreshed when it
    is old, and is answered at once from what there is."""

    def __init__(self) -> None:
        self._history = History()
        self._until = 0.0
        self._lock = threading.Lock()

    def history(self, store: Store) -> History:
        """What is known."""
        if time.monotonic() >= self._until and self._lock.acquire(blocking=False):
            threading.Thread(target=self._refresh, args=(store,), name="expectations", daemon=True).start()
        return self._history

    def learn(self, store: Store, *, now: datetime) -> None:
        """Read the history. Raises `DatabaseUnavailable`."""
        with store.looking() as connection:
            self._history = learned(reads.durations_by_kind(connection, now=now), now=now)
        self._until = time.monotonic() + KNOWN_FOR_S

    def _refresh(self, store: Store) -> None:
        try:
            self._until = time.monotonic() + KNOWN_FOR_S  # Also when it fails: not with every request then.
            with suppress(DatabaseUnavailable):
                self.learn(store, now=datetime.now(UTC))
        finally:
            self._lock.release()


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is expected at this moment, for whoever shows or plans jobs; `slots` are the provider's."""

    history: Callable[[], History]
    slots: int

    def of(self, job: Mapping[str, Any]) -> Estimate | None:
        """For a job's row."""
        return self.history().of(kind_of(job["input"], job["samples"]))

    def everyone(self) -> Estimate | None:
        """For a job of any kind."""
        return self.history().of(ANY)


NOTHING_KNOWN = Outlook(History, slots=1)
