"""Batches as the doors show them: how many of their jobs stand how, and whether there is anything left to wait for."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, exists, func, literal, select, tuple_

from webhook_app.domain.job import TERMINAL, ArchiveStatus, Status
from webhook_app.store.batches import UNFINISHED
from webhook_app.store.bulk import Among, Statement
from webhook_app.store.tables import Batch, Job
from webhook_app.store.types import Instant


@dataclass(slots=True)
class BatchRow:
    """A batch, how many of its jobs have each status, and how many have pictures that are not copied yet."""

    row: Row[Any]
    counts: dict[str, int] = field(default_factory=lambda: {status.value: 0 for status in Status})
    archiving: int = 0


def _with_work(among: Among) -> Any:
    work = (
        select(Job.batch_id, Job.status, Job.archive_status, func.count().label("found"))
        .where(among(Job.__table__.c.batch_id), UNFINISHED)
        .group_by(Job.batch_id, Job.status, Job.archive_status)
        .subquery()
    )
    found = (work.c.status, work.c.archive_status, work.c.found)
    joined = select(Batch.__table__, *found).outerjoin(work, work.c.batch_id == Batch.batch_id)
    return joined.where(among(Batch.__table__.c.batch_id))


# One statement, so that all numbers of a batch are of the same moment.
WITH_WORK = Statement(_with_work)


OPEN = Batch.completed_at.is_(None)
# By whether what is left to be copied counts.
AT_WORK = {False: OPEN, True: OPEN | exists().where(Job.batch_id == Batch.batch_id, UNFINISHED)}


def batch(connection: Connection, batch_id: str, client_id: str | None) -> BatchRow | None:
    """The batch; None when there is none or it belongs to another client (`client_id` None sees all)."""
    found = _batches(connection, [batch_id]).get(batch_id)
    return None if found is None or client_id not in (None, found.row.client_id) else found


def batches(
    connection: Connection, client_id: str | None, *, after: tuple[datetime, str] | None, limit: int
) -> list[BatchRow]:
    """A page of batches, newest first, after the (created_at, batch_id) of the page before."""
    key = (Batch.created_at, Batch.batch_id)
    statement = select(Batch.batch_id).order_by(*(column.desc() for column in key)).limit(limit)
    if client_id is not None:
        statement = statement.where(Batch.client_id == client_id)
    if after is not None:
        statement = statement.where(tuple_(*key) < tuple_(literal(after[0], Instant), literal(after[1])))
    ids = list(connection.scalars(statement))
    found = _batches(connection, ids) if ids else {}
    return [found[batch_id] for batch_id in ids]


def _batches(connection: Connection, ids: Collection[str]) -> dict[str, BatchRow]:
    found: dict[str, BatchRow] = {}
    for row in WITH_WORK.execute(connection, list(ids)):
        shown = found.setdefault(row.batch_id, BatchRow(row))
        for status in TERMINAL:
            shown.counts[status.value] = getattr(row, status)
        if row.found is not None and row.status not in TERMINAL:
            shown.counts[row.status] += row.found
        if row.archive_status == ArchiveStatus.PENDING:
            shown.archiving += row.found
    return found


def batches_at_work(connection: Connection, ids: Collection[str], *, archived: bool) -> set[str]:
    """Which of these batches have a job that has not ended; with `archived` also those of which something is left to be
    copied."""
    return set(connection.scalars(select(Batch.batch_id).where(AT_WORK[archived], Batch.batch_id.in_(ids))))


def track_ids_of_batch(connection: Connection, batch_id: str) -> list[str]:
    """Its jobs, in no order."""
    return list(connection.scalars(select(Job.track_id).where(Job.batch_id == batch_id)))
