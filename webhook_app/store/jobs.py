"""Jobs: made, claimed, locked and moved. Nothing here commits; the flow does."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, Integer, Row, Select, bindparam, func, or_, select, text, update

from webhook_app.domain.job import TERMINAL, ArchiveStatus, Status
from webhook_app.store.bulk import AddMany, Among, SaveMany, Statement, table_of
from webhook_app.store.slots import in_flight_by_client
from webhook_app.store.tables import Attempt, Job

JOBS = table_of(Job)
# What `save` writes: everything that a report or an act of ours may change.
MOVABLE = [
    "status",
    "previous_status",
    "attempt",
    "spent",
    "waiting_for",
    "provider_job_id",
    "provider_status",
    "provider_meta",
    "archive_status",
    "flags",
    "error",
    "generation_time_s",
    "seed",
    "submitted_at",
    "completed_at",
    "archived_at",
    "deadline_at",
    "overdue_at",
    "unconfirmed_since",
    "due_at",
    "lease_owner",
    "lease_until",
]
# What stays of an erased job: whose it was, its status, its numbers and its instants.
ERASED: dict[str, Any] = {
    "input": {},
    "seed": None,
    "reference": None,
    "webhook": None,
    "webhook_events": None,
    "job_metadata": {},
    "tags": [],
    "waiting_for": None,
    "provider_job_id": None,
    "provider_status": None,
    "provider_meta": {},
    "archive_status": ArchiveStatus.ERASED.value,
    "flags": [],
}


class Home(NamedTuple):
    """Whose a job is, and the batch that it came in. Both are None where no such job is known."""

    client_id: str | None
    batch_id: str | None


NOBODY = Home(None, None)


def locking(among: Among) -> Select[Any]:
    """Jobs by their track_ids, locked in the one order of all flows."""
    return select(JOBS).where(among(JOBS.c.track_id)).order_by(JOBS.c.track_id).with_for_update()


LOCK = Statement(locking)
HOMES = Statement(
    lambda among: select(JOBS.c.track_id, JOBS.c.client_id, JOBS.c.batch_id).where(among(JOBS.c.track_id))
)
NEW = {column.key: getattr(column.default, "arg", None) for column in JOBS.c}
ADD = AddMany(
    JOBS,
    columns=[str(name) for name in NEW if name != "number"],  # SQLAlchemy has a kind of text of its own for some.
    finish=lambda added: added.returning(JOBS.c.track_id, JOBS.c.number),
)
SAVE = SaveMany(JOBS, key=["number", "version"], columns=MOVABLE, also={"version": JOBS.c.version + 1})
QUEUE_LENGTH = select(func.count()).select_from(
    select(JOBS.c.number)
    .where(JOBS.c.client_id == bindparam("client_id"), JOBS.c.status == Status.QUEUED)
    .limit(bindparam("most", type_=Integer()))
    .subquery()
)

# A loose scan: one index probe for each client with queued jobs, however long the queues are.
CLIENTS_QUEUED = text(
    """
    WITH RECURSIVE queued(client_id) AS (
        SELECT min(client_id) FROM jobs WHERE status = 'queued' AND provider = :provider
        UNION ALL
        SELECT (SELECT min(client_id) FROM jobs
                WHERE status = 'queued' AND provider = :provider AND client_id > queued.client_id)
        FROM queued WHERE queued.client_id IS NOT NULL
    )
    SELECT client_id FROM queued WHERE client_id IS NOT NULL
    """
)


def add(connection: Connection, values: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Insert jobs with one statement; returns their rows, in the same order, which is that of their numbers."""
    rows = [NEW | each for each in values]
    numbers = {row.track_id: row.number for row in ADD.execute(connection, rows)}
    return [row | {"number": numbers[row["track_id"]]} for row in rows]


def queue_length(connection: Connection, client_id: str, *, most: int) -> int:
    """How many unsent jobs a client has, counted up to `most`."""
    return int(connection.scalar(QUEUE_LENGTH, {"client_id": client_id, "most": most}) or 0)


def lock(connection: Connection, track_ids: Sequence[str]) -> dict[str, Row[Any]]:
    """The jobs by track_id, locked in that order, which is the same in every flow. Unknown ids are left out."""
    return {row.track_id: row for row in LOCK.execute(connection, sorted(set(track_ids)))}


def get(connection: Connection, track_id: str) -> Row[Any] | None:
    """One job, not locked."""
    return connection.execute(select(Job.__table__).where(Job.track_id == track_id)).one_or_none()


def homes(connection: Connection, track_ids: Sequence[str]) -> dict[str, Home]:
    """Whose jobs these are; unknown ids are left out."""
    if not track_ids:
        return {}
    rows = HOMES.execute(connection, sorted(set(track_ids)))
    return {row.track_id: Home(row.client_id, row.batch_id) for row in rows}


def is_erased(connection: Connection, track_id: str) -> bool:
    """Whether there was such a job, and it is erased."""
    marked = select(Job.number).where(Job.track_id == track_id, Job.erased_at.is_not(None))
    return connection.scalar(marked) is not None


def erased_among(connection: Connection, track_ids: Collection[str]) -> set[str]:
    """Those of these jobs that are erased."""
    marked = select(Job.track_id).where(Job.track_id.in_(sorted(track_ids)), Job.erased_at.is_not(None))
    return set(connection.scalars(marked))


def save(connection: Connection, changed: Sequence[dict[str, Any]]) -> bool:
    """Write locked jobs back, one statement for all. Each dict holds `number`, the `version` that was read, and every
    movable column. False when a row moved meanwhile, which the locks should have made impossible."""
    return not changed or SAVE.execute(connection, changed).rowcount == len(changed)


def claim(
    connection: Connection, *, provider: str, owner: str, limit: int, lease: timedelta, now: datetime
) -> list[Row[Any]]:
    """Lease up to `limit` queued jobs that are due: clients in turn (fewest in flight first), then priority, then
    age."""
    held = in_flight_by_client(connection, provider, now)
    clients: list[str] = list(connection.scalars(CLIENTS_QUEUED, {"provider": provider}))
    due = {client: list(_due(connection, provider, client, limit, now)) for client in clients}
    chosen: list[int] = []
    while len(chosen) < limit and any(due.values()):
        client = min((c for c in clients if due[c]), key=lambda c: (held.get(c, 0), c))
        chosen.append(due[client].pop(0))
        held[client] = held.get(client, 0) + 1
    return _lease(connection, chosen, owner, now + lease, now) if chosen else []


def _due(connection: Connection, provider: str, client_id: str, limit: int, now: datetime) -> Sequence[int]:
    statement = (
        select(Job.number)
        .where(Job.status == Status.QUEUED, Job.provider == provider, Job.client_id == client_id, Job.due_at <= now)
        .where(or_(Job.lease_until.is_(None), Job.lease_until < now))
        # What is over in a moment would only cost money.
        .where(or_(Job.deadline_at.is_(None), Job.deadline_at > now))
        .order_by(Job.priority.desc(), Job.number)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return connection.scalars(statement).all()


def _lease(connection: Connection, numbers: list[int], owner: str, until: datetime, now: datetime) -> list[Row[Any]]:
    statement = (
        update(Job)
        .where(Job.number.in_(numbers), Job.status == Status.QUEUED)
        .where(or_(Job.lease_until.is_(None), Job.lease_until < now))
        .values(lease_owner=owner, lease_until=until, fence=Job.fence + 1)
        .returning(Job.track_id, Job.model, Job.input, Job.seed, Job.fence, Job.attempt, Job.client_id)
    )
    return list(connection.execute(statement).all())


def begin_sending(
    connection: Connection, track_id: str, *, owner: str, fence: int, lease_beyond: datetime
) -> Row[Any] | None:
    """Lock the job for its submit if it is still ours: queued, same fence, and leased beyond that instant. None
    otherwise."""
    statement = (
        select(Job.__table__)
        .where(Job.track_id == track_id, Job.status == Status.QUEUED)
        .where(Job.lease_owner == owner, Job.fence == fence, Job.lease_until > lease_beyond)
    )
    return connection.execute(statement.with_for_update()).one_or_none()


def renew(connection: Connection, *, owner: str, until: datetime, sent_after: datetime, now: datetime) -> int:
    """Keep the submits that this worker has in hand; a lease that has run out is not revived. What was sent before
    `sent_after` is not in hand any more, and a job that is not begun keeps its first lease: whatever became of the
    thread that had them, somebody takes them up."""
    newest = (Attempt.track_id == Job.track_id) & (Attempt.n == Job.attempt)
    mine = (
        select(Job.number)
        .join(Attempt, newest)
        .where(Job.lease_owner == owner, Job.lease_until > now, Job.status == Status.SUBMITTING)
        .where(Attempt.sent_at > sent_after)
        .order_by(Job.track_id)
        .with_for_update(of=Job)
    )
    numbers = connection.scalars(mine).all()
    connection.execute(update(Job).where(Job.number.in_(numbers)).values(lease_until=until))
    return len(numbers)


def give_back(connection: Connection, *, owner: str) -> list[str]:
    """Drop this worker's leases on jobs that it has not begun to send; returns their ids."""
    mine = select(Job.number).where(Job.lease_owner == owner, Job.status == Status.QUEUED).order_by(Job.track_id)
    numbers = connection.scalars(mine.with_for_update()).all()
    statement = update(Job).where(Job.number.in_(numbers)).values(lease_owner=None, lease_until=None)
    return list(connection.scalars(statement.returning(Job.track_id)))


def abandoned(connection: Connection, *, limit: int, now: datetime) -> Sequence[str]:
    """Jobs whose worker died while it was sending them."""
    statement = (
        select(Job.track_id)
        .where(Job.lease_until < now, Job.status == Status.SUBMITTING)
        .order_by(Job.lease_until)
        .limit(limit)
    )
    return connection.scalars(statement).all()


def unconfirmed_before(connection: Connection, *, before: datetime, limit: int, least_spent: int = 0) -> Sequence[str]:
    """Jobs whose submit has waited for evidence since before that instant, and for which nobody has decided; only those
    of which `least_spent` attempts count."""
    statement = (
        select(Job.track_id)
        .where(Job.unconfirmed_since <= before, Job.status.not_in(sorted(TERMINAL)), Job.spent >= least_spent)
        .order_by(Job.unconfirmed_since)
        .limit(limit)
    )
    return connection.scalars(statement).all()


def past_deadline(connection: Connection, *, on_hold_too: bool, limit: int, now: datetime) -> Sequence[str]:
    """Unfinished jobs that have been with the provider for longer than their `timeout_s`; those that wait for
    confirmation only with `on_hold_too`."""
    statement = select(Job.track_id).where(Job.deadline_at <= now, Job.completed_at.is_(None))
    if not on_hold_too:
        statement = statement.where(Job.unconfirmed_since.is_(None))
    return connection.scalars(statement.order_by(Job.deadline_at).limit(limit)).all()


def overdue(connection: Connection, *, limit: int, now: datetime) -> Sequence[str]:
    """Jobs that were never sent and have waited for longer than their `timeout_s`."""
    statement = select(Job.track_id).where(Job.overdue_at <= now).order_by(Job.overdue_at).limit(limit)
    return connection.scalars(statement).all()


def touch(connection: Connection, track_ids: Sequence[str], values: dict[str, Any] | None = None) -> None:
    """Raise the version of jobs whose pictures changed, so that their ETag does; optionally with other columns."""
    statement = update(Job).where(Job.track_id.in_(track_ids))
    connection.execute(statement.values(version=Job.version + 1, **(values or {})))


def past_retention(connection: Connection, *, before: datetime, limit: int) -> Sequence[str]:
    """Jobs that ended before that instant and are not erased, the oldest first."""
    statement = select(Job.track_id).where(Job.completed_at < before, Job.erased_at.is_(None))
    return connection.scalars(statement.order_by(Job.completed_at).limit(limit)).all()


def mark_erased(connection: Connection, track_ids: Sequence[str], *, now: datetime) -> None:
    """From this commit on these locked jobs are gone for everyone; what they hold is taken out afterwards."""
    touch(connection, track_ids, {"erased_at": now})


def erase(connection: Connection, job: Row[Any]) -> None:
    """Take everything out of a locked job. An error keeps its code: what the provider said may quote the prompt."""
    touch(connection, [job.track_id], ERASED | {"error": error_without_text(job.error)})


def error_without_text(error: dict[str, Any] | None) -> dict[str, Any] | None:
    """The code and whether it may be repeated, without the words."""
    return None if error is None else error | {"message": "", "provider_message": None}
