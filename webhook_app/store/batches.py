"""Batches: made with their jobs, and counted as these end. The jobs' locks come first. Nothing here commits."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Any

from sqlalchemy import Connection, Integer, Row, bindparam, case, exists, insert, select, text, update

from webhook_app.domain.job import TERMINAL, Status
from webhook_app.store.bulk import table_of
from webhook_app.store.tables import Batch, Job
from webhook_app.store.types import Instant

BATCHES = table_of(Batch)
STATUSES = sorted(status.value for status in TERMINAL)
ADD = insert(BATCHES)
# As the partial index has it: a parameter would hide from the planners that the index answers.
UNFINISHED = text("(jobs.completed_at IS NULL OR jobs.archive_status = 'pending')")


@dataclass(frozen=True, slots=True)
class End:
    """A job of a batch has ended; `was` is the end that it had before, None where this is its first."""

    batch_id: str
    was: str | None
    status: str


def _count() -> Any:
    more = {status: BATCHES.c[status] + bindparam(f"more_{status}", type_=Integer()) for status in STATUSES}
    ended = reduce(operator.add, more.values())
    last = (BATCHES.c.completed_at.is_(None) & (ended == BATCHES.c.jobs), bindparam("now", type_=Instant()))
    found = update(BATCHES).where(BATCHES.c.batch_id == bindparam("at"))
    return found.values(more | {"completed_at": case(last, else_=BATCHES.c.completed_at)}).returning(BATCHES)


COUNT = _count()


def add(connection: Connection, values: dict[str, Any]) -> None:
    """A new batch, of which nothing has ended."""
    connection.execute(ADD, dict.fromkeys(STATUSES, 0) | {"completed_at": None} | values)


def count(connection: Connection, ends: Sequence[End], *, now: datetime) -> list[Row[Any]]:
    """Count ends of jobs whose locks are held, one statement for each batch, by id. Returns the batches of which the
    last job has ended by this: each is returned once in its life, for the number of its ended jobs only grows."""
    completed = []
    for batch_id in sorted({end.batch_id for end in ends}):
        more = dict.fromkeys(STATUSES, 0)
        for end in ends:
            if end.batch_id == batch_id:
                more[end.status] += 1
                if end.was is not None:
                    more[end.was] -= 1
        parameters = {f"more_{status}": change for status, change in more.items()}
        row = connection.execute(COUNT, parameters | {"at": batch_id, "now": now}).one()
        if row.completed_at is not None and sum(more.values()) > 0:
            completed.append(row)
    return completed


def is_known(connection: Connection, batch_id: str) -> bool:
    """Whether there is such a batch."""
    return bool(connection.scalar(select(exists().where(Batch.batch_id == batch_id))))


def unfinished_jobs(connection: Connection, batch_id: str) -> Sequence[str]:
    """The jobs of a batch that have not ended; not locked."""
    statement = select(Job.track_id).where(Job.batch_id == batch_id, UNFINISHED, Job.status.in_(_unfinished()))
    return connection.scalars(statement).all()


def _unfinished() -> list[str]:
    return sorted(set(Status) - TERMINAL)


def is_erased(connection: Connection, batch_id: str | None) -> bool:
    """Whether all jobs of a batch are; None is none."""
    if batch_id is None:
        return False
    left = exists().where(Job.batch_id == batch_id, Job.erased_at.is_(None))
    return not connection.scalar(select(left))


def track_ids(connection: Connection, batch_id: str) -> list[str]:
    """The jobs of a batch, in the order in which they were asked for; erased ones too."""
    statement = select(Job.track_id).where(Job.batch_id == batch_id).order_by(Job.number)
    return list(connection.scalars(statement))
