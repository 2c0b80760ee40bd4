"""How things stand at this moment: unfinished work, deadlines and the log's unsealed end. Every question is answered
from a partial index; what may be long is counted up to `MOST`."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, func, select, text

from webhook_app.domain.job import Status
from webhook_app.store.tables import Callback, EventRow, Image, Job, LogHead

MOST = 1_000_000
# The text of the partial index's own condition: a parameter would hide from the planner that the index covers it.
QUEUED: ColumnElement[bool] = Job.status == bindparam("queued", Status.QUEUED.value, literal_execute=True)
IN_FLIGHT = (Job.deadline_at.is_not(None), Job.completed_at.is_(None), Job.status != Status.QUEUED)


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many of something wait, and since when the one that has waited longest does; None where nothing waits."""

    count: int
    oldest: datetime | None


def unfinished(connection: Connection, *, client_id: str | None = None) -> dict[Status, int]:
    """Jobs by status, unfinished ones only; `client_id` None is everyone's."""
    whose = [] if client_id is None else [is_of(client_id)]
    in_flight = select(Job.status, func.count().label("jobs")).where(*IN_FLIGHT, *whose).group_by(Job.status)
    by_status = {row.status: row.jobs for row in connection.execute(in_flight)}
    queued = select(Job.number).where(QUEUED, *whose).limit(MOST).subquery()
    return {
        Status.QUEUED: connection.scalar(select(func.count()).select_from(queued)) or 0,
        Status.SUBMITTING: by_status.get(Status.SUBMITTING, 0),
        Status.PROCESSING: by_status.get(Status.PROCESSING, 0),
    }


def is_of(client_id: str) -> ColumnElement[bool]:
    """The job is this client's. Written so that no index on clients is used: SQLite would walk through all jobs of the
    client (400 ms of 300,000) instead of through the few that a partial index has."""
    return is_of_client(Job.client_id, client_id)


def is_of_client(column: Any, client_id: str) -> ColumnElement[bool]:
    """As `is_of`, for any column."""
    condition: ColumnElement[bool] = column.concat("") == client_id
    return condition


def oldest_queued(connection: Connection) -> datetime | None:
    """When the job was accepted that has been queued for longest: the first number, as numbers follow time, from the
    index. SQLite's own way to a minimum would be all jobs from the first one on."""
    queued = select(Job.number).where(QUEUED).limit(MOST).subquery()
    first = connection.scalar(select(func.min(queued.c.number)))
    return None if first is None else connection.scalar(select(Job.created_at).where(Job.number == first))


def unconfirmed(connection: Connection, *, before: datetime | None = None) -> Waiting:
    """Submits that nothing has confirmed; only those that wait since before that instant, when one is given."""
    since = Job.unconfirmed_since
    return _waiting(connection, since, since.is_not(None) if before is None else since <= before)


def pictures(connection: Connection) -> Waiting:
    """Pictures that are not copied yet; `oldest` is the earliest instant at which one will be gone."""
    return _waiting(connection, Image.source_expires_at, Image.fetch_at.is_not(None))


def unapplied(connection: Connection) -> Waiting:
    """Callbacks that are on record and not applied, and when the earliest of them is tried next."""
    return _waiting(connection, Callback.retry_at, Callback.applied_at.is_(None))


def unsealed(connection: Connection) -> Waiting:
    """Events without a number."""
    count = _waiting(connection, EventRow.position, EventRow.seq.is_(None)).count
    return Waiting(count, oldest_unsealed(connection))


def oldest_unsealed(connection: Connection) -> datetime | None:
    """When the first event happened that has no number yet."""
    first = select(EventRow.created_at).where(EventRow.seq.is_(None)).order_by(EventRow.position).limit(1)
    return connection.scalar(first)


def heads_unarchived(connection: Connection) -> Waiting:
    """Signed heads of the log of which no copy lies outside the database yet."""
    return _waiting(connection, LogHead.signed_at, LogHead.archived_at.is_(None))


def give_up_after(connection: Connection, milliseconds: int) -> None:
    """Let no statement of this transaction run longer, on PostgreSQL; SQLite's readers wait for nobody."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL statement_timeout = {int(milliseconds)}"))


def _waiting(connection: Connection, since: Any, condition: ColumnElement[bool]) -> Waiting:
    some = select(since.label("since")).where(condition).limit(MOST).subquery()
    count, oldest = connection.execute(select(func.count(), func.min(some.c.since))).one()
    return Waiting(count, oldest)
