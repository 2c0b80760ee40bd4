"""How far batches are: ends of their jobs are counted in the transaction that writes them, and the last one is told."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from webhook_app.domain.events import Event, EventType
from webhook_app.domain.job import TERMINAL, Status
from webhook_app.store import batches
from webhook_app.store.batches import End


def end_of(job: dict[str, Any], status: Status) -> list[End]:
    """What a job's batch has to count when the job, which stands as it was, ends so; nothing where it has no batch."""
    if job["batch_id"] is None:
        return []
    return [End(job["batch_id"], job["status"] if job["status"] in TERMINAL else None, status.value)]


def completed(connection: Connection, ends: Sequence[End], *, by: str, now: datetime) -> list[Event]:
    """Count these ends; the events of the batches that are complete by them, to be appended behind the jobs' own. The
    locks of the jobs are held. A batch completes once: later changes between two ends do not tell it again."""
    rows = batches.count(connection, ends, now=now) if ends else []
    return [
        Event(
            EventType.BATCH_COMPLETED,
            by,
            now,
            client_id=row.client_id,
            batch_id=row.batch_id,
            data={"jobs": row.jobs} | {status.value: getattr(row, status) for status in sorted(TERMINAL)},
        )
        for row in rows
    ]
