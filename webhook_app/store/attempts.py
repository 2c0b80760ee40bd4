"""Attempts: one row for each submit of a job, written before the socket is opened."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, exists, func, insert, select, text, tuple_, update

from webhook_app.domain.job import RESENDABLE, Evidence, Status
from webhook_app.store.bulk import SaveMany, table_of
from webhook_app.store.jobs import error_without_text
from webhook_app.store.tables import Attempt, Job

MOVABLE = [
    "evidence",
    "evidence_at",
    "error",
    "provider_job_id",
    "eta_s",
    "unconfirmed_at",
    "answered_at",
    "note",
    "poll_at",
    "polls",
    "polled_at",
]
ATTEMPTS = table_of(Attempt)
REPEATS = text("attempts.repeats_unconfirmed")  # As the partial index has it; SQLite would not see it in `= 1`.
SAVE = SaveMany(ATTEMPTS, key=["track_id", "n"], columns=MOVABLE)


def add(
    connection: Connection, *, track_id: str, n: int, worker: str, repeats_unconfirmed: bool, now: datetime
) -> None:
    """A new attempt, about to be sent. `repeats_unconfirmed`: nobody knows whether the one before was taken."""
    values = {"track_id": track_id, "n": n, "sends": 1, "worker": worker, "sent_at": now, "polls": 0}
    values |= {"repeats_unconfirmed": repeats_unconfirmed, "evidence": Evidence.NONE.value}
    connection.execute(insert(Attempt).values(**values))


def send_again(connection: Connection, *, track_id: str, n: int, worker: str, now: datetime) -> None:
    """The same attempt once more: the provider did nothing with it before."""
    statement = update(Attempt).where(Attempt.track_id == track_id, Attempt.n == n)
    again = {"sends": Attempt.sends + 1, "evidence": Evidence.NONE.value, "note": None, "answered_at": None}
    connection.execute(statement.values(worker=worker, sent_at=now, **again))


def get(connection: Connection, track_id: str, n: int) -> Row[Any] | None:
    """One attempt."""
    statement = select(Attempt.__table__).where(Attempt.track_id == track_id, Attempt.n == n)
    return connection.execute(statement).one_or_none()


def save(connection: Connection, changed: Sequence[dict[str, Any]]) -> None:
    """Write attempts back, one statement for all; the locks of their jobs are held."""
    if changed:
        SAVE.execute(connection, changed)


def look_at(connection: Connection, track_id: str, n: int, *, now: datetime) -> None:
    """Ask about this attempt now, if it can be asked and no look is planned."""
    statement = update(Attempt).where(Attempt.track_id == track_id, Attempt.n == n)
    can_be_asked = (Attempt.provider_job_id.is_not(None), Attempt.poll_at.is_(None))
    connection.execute(statement.where(*can_be_asked).values(poll_at=now))


def stop_looking(connection: Connection, track_id: str, n: int) -> None:
    """There is nothing to ask about; unless an id has come meanwhile."""
    statement = update(Attempt).where(Attempt.track_id == track_id, Attempt.n == n)
    connection.execute(statement.where(Attempt.provider_job_id.is_(None)).values(poll_at=None))


def claim_polls(connection: Connection, *, limit: int, hold: timedelta, now: datetime) -> list[Row[Any]]:
    """The attempts that are due for a look, earliest first. Each is put off by `hold`, so that nobody else looks
    meanwhile."""
    due = (
        select(Attempt.track_id, Attempt.n)
        .where(Attempt.poll_at <= now)
        .order_by(Attempt.poll_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    keys = [(row.track_id, row.n) for row in connection.execute(due)]
    if not keys:
        return []
    connection.execute(
        update(Attempt)
        .where(Attempt.track_id == bindparam("at"), Attempt.n == bindparam("no"))
        .values(poll_at=now + hold),
        [{"at": track_id, "no": n} for track_id, n in keys],
    )
    statement = (
        select(
            Attempt.track_id,
            Attempt.n,
            Attempt.provider_job_id,
            Attempt.polls,
            Attempt.sent_at,
            Job.provider,
            Job.model,
        )
        .join(Job, Job.track_id == Attempt.track_id)
        .where(tuple_(Attempt.track_id, Attempt.n).in_(keys))
        .order_by(Attempt.sent_at)
    )
    return list(connection.execute(statement))


def largest_eta(connection: Connection, *, since: datetime) -> float | None:
    """The longest time in seconds that the provider has announced since then."""
    return connection.scalar(select(func.max(Attempt.eta_s)).where(Attempt.sent_at > since, Attempt.eta_s.is_not(None)))


def repeats_since(connection: Connection, since: datetime) -> int:
    """How many submits since then may be paid for twice: they repeat an unconfirmed one, and were not turned down."""
    statement = select(func.count()).select_from(Attempt).where(REPEATS, Attempt.sent_at > since)
    return int(connection.scalar(statement.where(Attempt.evidence.not_in(sorted(RESENDABLE)))) or 0)


def repeats_to_come(connection: Connection) -> int:
    """How many unconfirmed submits wait in the queue to be repeated, those that were turned down before included."""
    newest = (Job.track_id == Attempt.track_id, Job.attempt == Attempt.n, Job.status == Status.QUEUED)
    # EXISTS, not a join: SQLite would look up an attempt for every queued job.
    queued = select(func.count()).select_from(Attempt).where(exists().where(*newest))
    turned_down = (REPEATS, Attempt.evidence.in_(sorted(RESENDABLE)), Attempt.unconfirmed_at.is_(None))
    found = (queued.where(Attempt.unconfirmed_at.is_not(None)), queued.where(*turned_down))
    return sum(int(connection.scalar(each) or 0) for each in found)


def of_job(connection: Connection, track_id: str) -> list[Row[Any]]:
    """A job's attempts, from the first on."""
    mine = select(Attempt.__table__).where(Attempt.track_id == track_id).order_by(Attempt.n)
    return list(connection.execute(mine))


def erase(connection: Connection, track_id: str) -> None:
    """Take everything out of a locked job's attempts, and look at them no more. Their ids at the provider stay until it
    has been asked to delete its copies: `forget_id`."""
    for row in of_job(connection, track_id):
        gone = {"error": error_without_text(row.error), "note": None, "poll_at": None}
        connection.execute(update(Attempt).where(Attempt.track_id == track_id, Attempt.n == row.n).values(**gone))


def forget_id(connection: Connection, track_id: str, n: int) -> None:
    """The attempt's id at the provider is needed no more."""
    mine = (Attempt.track_id == track_id, Attempt.n == n)
    connection.execute(update(Attempt).where(*mine).values(provider_job_id=None))
