"""Jobs as the doors show them: one, a page of many, how they stand, and their place in the queue."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Text, and_, bindparam, exists, func, literal, or_, select, tuple_

from webhook_app.domain.job import ArchiveStatus, Status
from webhook_app.store.bulk import Statement, table_of
from webhook_app.store.engine import Store
from webhook_app.store.lookup import Find
from webhook_app.store.tables import Attempt, Blob, Image, Job
from webhook_app.store.types import Instant

RUNNING = (Status.SUBMITTING, Status.PROCESSING)
BY_TRACK_ID = select(Job.__table__).where(Job.track_id == bindparam("track_id"))
Position = tuple[datetime, int]  # Where a page ends: `created_at` and `number` of its last job.


# What no answer shows of a job; and what one shows of a picture, with the fact of when it is tried next.
NOT_SHOWN = {"spent", "overdue_at", "lease_owner", "lease_until", "fence"}
OF_JOB = [column for column in table_of(Job).c if column.key not in NOT_SHOWN]
OF_IMAGE = (
    Image.image_id,
    Image.index,
    Image.status,
    Image.sha256,
    Image.flags,
    Image.reason,
    Image.sources,
    Image.source_url,
    Image.source_expires_at,
    Image.archived_at,
    Image.fetch_at,
    Blob.content_type,
    Blob.bytes,
    Blob.width,
    Blob.height,
)
OF_ATTEMPT = (Attempt.poll_at, Attempt.sent_at, Attempt.eta_s)
# One row for each picture, and one for a job without any: columns of the job, the picture, and the newest attempt.
WITH_IMAGES = Find(
    lambda among: (
        select(*OF_JOB, *OF_IMAGE, *OF_ATTEMPT)
        .select_from(Job)
        .outerjoin(Image, Image.track_id == Job.track_id)
        .outerjoin(Blob, Blob.sha256 == Image.sha256)
        .outerjoin(Attempt, (Attempt.track_id == Job.track_id) & (Attempt.n == Job.attempt))
        .where(among(Job.track_id))
        .order_by(Job.track_id, Image.index)
    )
)
JOB_NAMES = [str(column.key) for column in OF_JOB]
IMAGE_NAMES = [str(column.key) for column in OF_IMAGE]
TRACK_ID_AT = JOB_NAMES.index("track_id")


@dataclass(frozen=True, slots=True)
class JobWithImages:
    """A job's row, its pictures' in order of their index with their blobs' facts, and when the next thing is due. Of
    one that is with the provider also since when, and what the provider said of how long it takes."""

    job: dict[str, Any]
    images: list[dict[str, Any]]
    next_action_at: datetime | None
    sent_at: datetime | None = None
    eta_s: float | None = None


STATES = Statement(
    lambda among: select(Job.track_id, Job.status, Job.archive_status, Job.client_id, Job.erased_at).where(
        among(Job.track_id)
    )
)


MANY = Statement(lambda among: select(Job.__table__).where(among(Job.track_id)))


@dataclass(frozen=True, slots=True)
class State:
    """How a job stands: all that whoever waits for it has to look at."""

    status: Status
    archive_status: ArchiveStatus
    client_id: str
    erased: bool


@dataclass(frozen=True, slots=True)
class JobFilter:
    """What a list holds. Empty collections and None do not restrict; of repeated words (statuses, tags, flags) any one
    is enough. `words` must all occur in the prompt. `after` is the last job of the page before; `client_id` None is
    everyone."""

    client_id: str | None
    statuses: Collection[str] = ()
    tags: Collection[str] = ()
    flags: Collection[str] = ()
    reference: str | None = None
    batch_id: str | None = None
    model: str | None = None
    provider: str | None = None
    seed: int | None = None
    words: Collection[str] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    unconfirmed: bool | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    newest_first: bool = True
    after: Position | None = None


def job(connection: Connection, track_id: str, client_id: str | None) -> dict[str, Any] | None:
    """The job, erased or not; None when there is none or it belongs to another client (`client_id` None sees all)."""
    row = connection.execute(BY_TRACK_ID, {"track_id": track_id}).one_or_none()
    return None if row is None or client_id not in (None, row.client_id) else dict(row._mapping)


def jobs_of(connection: Connection, track_ids: Collection[str]) -> list[dict[str, Any]]:
    """These jobs, erased or not, whoever they belong to; in no order."""
    return [dict(row._mapping) for row in MANY.execute(connection, list(track_ids))]


def jobs_with_images(store: Store, track_ids: Sequence[str]) -> dict[str, JobWithImages]:
    """By track_id, erased or not, whoever they belong to, with all that an answer shows of them, in one statement: it
    is what everyone asks most."""
    rows: dict[str, list[list[Any]]] = {}
    for row in WITH_IMAGES.alone(store, track_ids):
        rows.setdefault(row[TRACK_ID_AT], []).append(row)
    return {track_id: _whole(own) for track_id, own in rows.items()}


def _whole(rows: Sequence[Sequence[Any]]) -> JobWithImages:
    job = dict(zip(JOB_NAMES, rows[0], strict=False))
    own = [dict(zip(IMAGE_NAMES, row[len(OF_JOB) : -len(OF_ATTEMPT)], strict=True)) for row in rows]
    images = [image for image in own if image["image_id"] is not None]
    poll_at, sent_at, eta_s = rows[0][-len(OF_ATTEMPT) :]
    return JobWithImages(job, images, _next_action_at(job, images, poll_at=poll_at), sent_at, eta_s)


def jobs(connection: Connection, wanted: JobFilter, *, limit: int) -> list[dict[str, Any]]:
    """A page of jobs, erased ones left out, by (created_at, number)."""
    statement = select(Job.__table__).where(*_conditions(connection, wanted), Job.erased_at.is_(None))
    key = (Job.created_at, Job.number)
    if wanted.after is not None:
        created_at, number = wanted.after
        end = tuple_(literal(created_at, Instant), literal(number))
        statement = statement.where(tuple_(*key) < end if wanted.newest_first else tuple_(*key) > end)
    order = [column.desc() if wanted.newest_first else column.asc() for column in key]
    return [dict(row._mapping) for row in connection.execute(statement.order_by(*order).limit(limit))]


def count_jobs(connection: Connection, wanted: JobFilter) -> int:
    """How many jobs the filter leaves over all pages, erased ones left out."""
    statement = select(func.count()).select_from(Job).where(*_conditions(connection, wanted), Job.erased_at.is_(None))
    return int(connection.scalar(statement) or 0)


def states_of(connection: Connection, track_ids: Collection[str]) -> dict[str, State]:
    """By track_id, for any number of them, whoever they belong to; those that do not exist are left out."""
    rows = STATES.execute(connection, list(track_ids)) if track_ids else ()
    return {
        track_id: State(Status(status), ArchiveStatus(archive_status), client_id, erased_at is not None)
        for track_id, status, archive_status, client_id, erased_at in rows
    }


def _conditions(connection: Connection, wanted: JobFilter) -> list[ColumnElement[bool]]:
    exact: list[tuple[ColumnElement[Any] | Any, Any]] = [
        (Job.client_id, wanted.client_id),
        (Job.reference, wanted.reference),
        (Job.batch_id, wanted.batch_id),
        (Job.model, wanted.model),
        (Job.provider, wanted.provider),
        (Job.seed, wanted.seed),
    ]
    conditions = [column == value for column, value in exact if value is not None]
    if wanted.statuses:
        conditions.append(Job.status.in_(sorted(wanted.statuses)))
    if wanted.tags:
        conditions.append(_holds_any(connection, Job.tags, wanted.tags))
    if wanted.flags:
        of_images = exists().where(Image.track_id == Job.track_id, _holds_any(connection, Image.flags, wanted.flags))
        conditions.append(or_(_holds_any(connection, Job.flags, wanted.flags), of_images))
    if wanted.unconfirmed is not None:
        conditions.append(Job.unconfirmed_since.is_not(None) if wanted.unconfirmed else Job.unconfirmed_since.is_(None))
    conditions += [Job.input["prompt"].as_string().icontains(word, autoescape=True) for word in wanted.words]
    conditions += [_metadata_is(connection, key, value) for key, value in wanted.metadata.items()]
    if wanted.created_after is not None:
        conditions.append(Job.created_at >= wanted.created_after)
    if wanted.created_before is not None:
        conditions.append(Job.created_at < wanted.created_before)
    return conditions


def _holds_any(connection: Connection, column: Any, words: Collection[str]) -> ColumnElement[bool]:
    each = func.jsonb_array_elements_text if connection.dialect.name == "postgresql" else func.json_each
    elements = each(column).table_valued("value")
    return exists(select(1).select_from(elements).where(elements.c.value.in_(sorted(words))))


def _metadata_is(connection: Connection, key: str, value: str) -> ColumnElement[bool]:
    if connection.dialect.name == "postgresql":
        return Job.job_metadata.op("->>", return_type=Text())(literal(key, Text())) == value
    # `->` gives the member as JSON, which keeps true and 1 apart: the asked text is it, or is the text in it.
    member = Job.job_metadata.op("->", return_type=Text())(literal(f'$."{key}"', Text()))
    return or_(member == orjson.dumps(value).decode(), and_(member == value, func.substr(member, 1, 1) != '"'))


def _next_action_at(job: dict[str, Any], images: Collection[dict[str, Any]], *, poll_at: datetime | None) -> Any:
    """As `next_action_at`, of rows in hand."""
    if job["archive_status"] == ArchiveStatus.PENDING:
        return min((image["fetch_at"] for image in images if image["fetch_at"] is not None), default=None)
    if job["status"] in RUNNING:
        return poll_at
    return job["due_at"] if job["status"] == Status.QUEUED else None


def sent(connection: Connection, rows: Collection[dict[str, Any]]) -> dict[str, tuple[datetime, float | None]]:
    """Since when those of these jobs are with the provider that are, and what it said of how long they take."""
    running = [(row["track_id"], row["attempt"]) for row in rows if row["status"] in RUNNING]
    if not running:
        return {}
    columns = select(Attempt.track_id, Attempt.sent_at, Attempt.eta_s)
    found = connection.execute(columns.where(tuple_(Attempt.track_id, Attempt.n).in_(running)))
    return {track_id: (sent_at, eta_s) for track_id, sent_at, eta_s in found}


def next_action_at(connection: Connection, rows: Collection[dict[str, Any]]) -> dict[str, datetime]:
    """When the next thing is due for jobs that wait: the next submit, look at the provider, or fetch of a picture."""
    found = {row["track_id"]: row["due_at"] for row in rows if row["status"] == Status.QUEUED and row["due_at"]}
    running = [(row["track_id"], row["attempt"]) for row in rows if row["status"] in RUNNING]
    if running:
        polls = select(Attempt.track_id, Attempt.poll_at).where(tuple_(Attempt.track_id, Attempt.n).in_(running))
        found |= {poll.track_id: poll.poll_at for poll in connection.execute(polls) if poll.poll_at}
    archiving = [row["track_id"] for row in rows if row["archive_status"] == ArchiveStatus.PENDING]
    if archiving:
        fetches = select(Image.track_id, func.min(Image.fetch_at).label("fetch_at")).group_by(Image.track_id)
        fetches = fetches.where(Image.track_id.in_(archiving), Image.fetch_at.is_not(None))
        found |= {fetch.track_id: fetch.fetch_at for fetch in connection.execute(fetches)}
    return found
