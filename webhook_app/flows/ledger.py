"""The rows that a batch of reports is about, locked and in hand; what changed is written with one statement a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from webhook_app.domain.errors import DatabaseUnavailable
from webhook_app.domain.events import Event
from webhook_app.domain.outcome import Finished, NotSent, Outcome, Witness
from webhook_app.flows import tally
from webhook_app.store import changes, erasures
from webhook_app.store.batches import End


@dataclass(frozen=True, slots=True)
class Report:
    """What one witness says about one attempt of one job."""

    track_id: str
    attempt: int
    witness: Witness
    outcome: Outcome | NotSent


class Ledger:
    """The locked rows of a batch as they are now, and the events that tell how they came there. `applied` are the
    keys of those callbacks of these attempts that are applied."""

    def __init__(self, connection: Connection, reports: Sequence[Report]) -> None:
        finished = any(isinstance(report.outcome, Finished) for report in reports)
        found = changes.lock(connection, [report.track_id for report in reports], with_images=finished)
        self.jobs, self.attempts, self.images = found.jobs, found.attempts, found.images
        self.applied = found.applied
        erased = [track_id for track_id, row in self.jobs.items() if row["erased_at"] is not None]
        self.erasing = erasures.open_among(connection, erased) if erased else {}
        self.changed_jobs: set[str] = set()
        self.changed_attempts: set[tuple[str, int]] = set()
        self.changed_images: set[tuple[str, int]] = set()
        self.events: list[Event] = []
        self.released: set[str] = set()
        self.ends: list[End] = []

    def look_at(self, track_id: str, n: int, now: datetime) -> None:
        """Ask the provider about this attempt now, if it can be asked: its own word confirms what a callback said."""
        attempt = self.attempts[track_id, n]
        if attempt["provider_job_id"] is not None:
            attempt["poll_at"] = now
            self.changed_attempts.add((track_id, n))

    def write(
        self, connection: Connection, *, received: changes.Rows = (), settled: changes.Rows = (), now: datetime
    ) -> None:
        """Everything that changed, one statement for each table. `received`: callbacks to put on record with their
        verdicts, doubles included, which are counted; `settled`: verdicts of those on record, one for each."""
        self.events += tally.completed(connection, self.ends, by="provider", now=now)
        written = changes.write(
            connection,
            changed_jobs=[self.jobs[track_id] for track_id in sorted(self.changed_jobs)],
            changed_attempts=[self.attempts[key] for key in sorted(self.changed_attempts)],
            changed_images=[self.images[track_id][index] for track_id, index in sorted(self.changed_images)],
            released=sorted(self.released),
            told=self.events,
            received=received,
            settled=settled,
        )
        if not written:
            raise DatabaseUnavailable("A locked job was changed by somebody else.", retry_after_s=1)
