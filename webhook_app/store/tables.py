"""The shape of the tables and the promises that the database keeps by itself (design.md, section 4)."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    TextClause,
    UniqueConstraint,
    Uuid,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from webhook_app.domain.erasure import ErasureStatus
from webhook_app.domain.job import TERMINAL, ArchiveStatus, Evidence, ImageStatus, Status
from webhook_app.store.types import BigInt, Instant, Json

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
TrackId = Uuid(as_uuid=False)


def one_of(column: str, values: Any) -> str:
    """SQL: the column holds one of these words."""
    return f"{column} IN ({', '.join(repr(str(v)) for v in values)})"


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: Instant,
        dict[str, Any]: Json,
        list[Any]: Json,
        str: Text,
        bytes: LargeBinary,
    }


def partial(name: str, *columns: str | TextClause, where: str, unique: bool = False) -> Index:
    """A partial index with the same condition on both databases: one for each poller's question."""
    return Index(name, *columns, unique=unique, postgresql_where=text(where), sqlite_where=text(where))


class Client(Base):
    __tablename__ = "clients"

    client_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    created_at: Mapped[datetime]


class ApiKey(Base):
    __tablename__ = "api_keys"

    key_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("clients.client_id"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[Any]]
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class Job(Base):
    """`due_at` is the instant of the next act while queued; `lease_until` and `fence` belong to the worker that has it
    in hand; `version` rises with every change and is the ETag."""

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(one_of("status", Status), name="status"),
        CheckConstraint(one_of("archive_status", ArchiveStatus), name="archive_status"),
        CheckConstraint(
            f"(completed_at IS NOT NULL) = ({one_of('status', sorted(TERMINAL))})", name="completed_when_terminal"
        ),
        CheckConstraint("priority BETWEEN -100 AND 100", name="priority"),
        CheckConstraint("attempt >= 0 AND spent >= 0", name="attempts"),
        Index("ix_jobs_client_id_created_at", "client_id", "created_at", "number"),
        Index("ix_jobs_created_at", "created_at", "number"),
        Index("ix_jobs_client_id_reference", "client_id", "reference"),
        partial("ix_jobs_claim", "provider", "client_id", text("priority DESC"), "number", where="status = 'queued'"),
        partial("ix_jobs_deadline", "deadline_at", where="deadline_at IS NOT NULL AND completed_at IS NULL"),
        partial("ix_jobs_lease", "lease_until", where="lease_until IS NOT NULL"),
        partial("ix_jobs_unconfirmed", "unconfirmed_since", where="unconfirmed_since IS NOT NULL"),
        partial("ix_jobs_overdue", "overdue_at", where="overdue_at IS NOT NULL"),
        partial("ix_jobs_batch", "batch_id", "number", where="batch_id IS NOT NULL"),
        partial("ix_jobs_retention", "completed_at", where="completed_at IS NOT NULL AND erased_at IS NULL"),
        {"sqlite_autoincrement": True},
    )

    number: Mapped[int] = mapped_column(BigInt, primary_key=True, autoincrement=True)
    track_id: Mapped[str] = mapped_column(TrackId, unique=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("clients.client_id"))
    created_by: Mapped[str] = mapped_column(String(40))
    provider: Mapped[str] = mapped_column(String(40))
    model: Mapped[str] = mapped_column(String(80))
    input: Mapped[dict[str, Any]]
    seed: Mapped[int | None] = mapped_column(BigInt)
    samples: Mapped[int]
    reference: Mapped[str | None] = mapped_column(String(200))
    webhook: Mapped[str | None]
    webhook_events: Mapped[list[Any] | None]
    job_metadata: Mapped[dict[str, Any]] = mapped_column("metadata", Json)
    tags: Mapped[list[Any]]
    priority: Mapped[int]
    timeout_s: Mapped[int]
    batch_id: Mapped[str | None] = mapped_column(String(40))
    parent_track_id: Mapped[str | None] = mapped_column(TrackId)

    status: Mapped[str] = mapped_column(String(16))
    previous_status: Mapped[str | None] = mapped_column(String(16))
    version: Mapped[int] = mapped_column(default=1)
    attempt: Mapped[int] = mapped_column(default=0)
    spent: Mapped[int] = mapped_column(default=0)
    waiting_for: Mapped[str | None] = mapped_column(String(24))
    provider_job_id: Mapped[str | None]
    provider_status: Mapped[str | None]
    provider_meta: Mapped[dict[str, Any]]
    archive_status: Mapped[str] = mapped_column(String(16))
    flags: Mapped[list[Any]]
    error: Mapped[dict[str, Any] | None]
    generation_time_s: Mapped[float | None]

    created_at: Mapped[datetime]
    submitted_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    archived_at: Mapped[datetime | None]
    deadline_at: Mapped[datetime | None]
    overdue_at: Mapped[datetime | None]
    unconfirmed_since: Mapped[datetime | None]
    erased_at: Mapped[datetime | None]

    due_at: Mapped[datetime | None]
    lease_owner: Mapped[str | None] = mapped_column(String(80))
    lease_until: Mapped[datetime | None]
    fence: Mapped[int] = mapped_column(BigInt, default=0)


class Attempt(Base):
    """`sends` counts how often this attempt went out: more than one only where the provider provably did nothing
    before. `repeats_unconfirmed`: it went out although nobody knew whether the provider had the one before. `poll_at`
    is the next look at it."""

    __tablename__ = "attempts"
    __table_args__ = (
        CheckConstraint(one_of("evidence", Evidence), name="evidence"),
        partial("ix_attempts_poll", "poll_at", where="poll_at IS NOT NULL"),
        partial("ix_attempts_provider_job_id", "provider_job_id", where="provider_job_id IS NOT NULL"),
        partial("ix_attempts_repeats", "sent_at", where="repeats_unconfirmed"),
        partial("ix_attempts_unconfirmed", "unconfirmed_at", where="unconfirmed_at IS NOT NULL"),
        partial("ix_attempts_eta", "sent_at", where="eta_s IS NOT NULL"),
    )

    track_id: Mapped[str] = mapped_column(TrackId, ForeignKey("jobs.track_id"), primary_key=True)
    n: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sends: Mapped[int] = mapped_column(default=0)
    repeats_unconfirmed: Mapped[bool] = mapped_column(default=False, server_default=false())
    worker: Mapped[str | None] = mapped_column(String(80))
    sent_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]
    provider_job_id: Mapped[str | None]
    evidence: Mapped[str] = mapped_column(String(16))
    evidence_at: Mapped[datetime | None]
    error: Mapped[dict[str, Any] | None]
    note: Mapped[str | None]
    eta_s: Mapped[float | None]
    unconfirmed_at: Mapped[datetime | None]
    poll_at: Mapped[datetime | None]
    polls: Mapped[int] = mapped_column(default=0)
    polled_at: Mapped[datetime | None]


class Callback(Base):
    """Everything received with a good token, raw. An orphan's `track_id` names no job of ours, so there is no foreign
    key."""

    __tablename__ = "callbacks"
    __table_args__ = (
        UniqueConstraint("track_id", "attempt", "sha256"),
        Index("ix_callbacks_received_at", "received_at", "callback_id"),
        partial("ix_callbacks_unapplied", "retry_at", where="applied_at IS NULL"),
        partial("ix_callbacks_orphaned", "received_at", "callback_id", where="verdict = 'orphaned'"),
    )

    callback_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    provider: Mapped[str] = mapped_column(String(40))
    track_id: Mapped[str] = mapped_column(TrackId)
    attempt: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    times_seen: Mapped[int] = mapped_column(default=1)
    body: Mapped[bytes | None]
    content_type: Mapped[str | None]
    headers: Mapped[dict[str, Any]]
    remote_addr: Mapped[str | None]
    verdict: Mapped[str | None] = mapped_column(String(16))
    problem: Mapped[str | None]
    received_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    applied_at: Mapped[datetime | None]
    retry_at: Mapped[datetime | None]


class Blob(Base):
    """The bytes behind archived pictures, once for each content. `reference_count` counts the images that show them;
    whoever removes the bytes of one that none shows has it until `lease_until`."""

    __tablename__ = "blobs"
    __table_args__ = (
        CheckConstraint(one_of("state", ("putting", "stored", "deleting")), name="state"),
        CheckConstraint("reference_count >= 0", name="reference_count"),
        partial("ix_blobs_unreferenced", "created_at", where="reference_count = 0"),
    )

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    reference_count: Mapped[int] = mapped_column(default=0)
    content_type: Mapped[str] = mapped_column(String(40))
    bytes: Mapped[int] = mapped_column(BigInt)
    width: Mapped[int]
    height: Mapped[int]
    trailing_bytes: Mapped[int] = mapped_column(BigInt, default=0)
    thumbnails: Mapped[list[Any]]
    created_at: Mapped[datetime]
    lease_until: Mapped[datetime | None]


class Image(Base):
    """One picture of a job, made at submit, so that its URL exists from then on. `sources` are the provider's
    addresses, `source_witness` and `source_attempt` are who named them. `fetch_at` is the next try; `at_risk_at` is
    when somebody was warned that little time is left."""

    __tablename__ = "images"
    __table_args__ = (
        UniqueConstraint("track_id", "index"),
        CheckConstraint(one_of("status", ImageStatus), name="status"),
        CheckConstraint("status <> 'archived' OR sha256 IS NOT NULL", name="archived_has_blob"),
        partial("ix_images_fetch", "source_expires_at", where="fetch_at IS NOT NULL"),
        partial("ix_images_sha256", "sha256", where="sha256 IS NOT NULL"),
    )

    image_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    track_id: Mapped[str] = mapped_column(TrackId, ForeignKey("jobs.track_id"))
    index: Mapped[int]
    status: Mapped[str] = mapped_column(String(16))
    sources: Mapped[list[Any]]
    source_witness: Mapped[str | None] = mapped_column(String(16))
    source_attempt: Mapped[int | None]
    source_url: Mapped[str | None]
    source_expires_at: Mapped[datetime | None]
    reason: Mapped[str | None]
    flags: Mapped[list[Any]]
    sha256: Mapped[str | None] = mapped_column(String(64), ForeignKey("blobs.sha256"))
    archived_at: Mapped[datetime | None]
    at_risk_at: Mapped[datetime | None]
    fetch_at: Mapped[datetime | None]
    fetches: Mapped[int] = mapped_column(default=0)
    lease_owner: Mapped[str | None] = mapped_column(String(80))
    lease_until: Mapped[datetime | None]
    fence: Mapped[int] = mapped_column(BigInt, default=0)


class EventRow(Base):
    """The log. `position` is the order of insertion, `seq` the order of the sealed log, given once, gapless;
    `previous_hash` and `hash` chain each event to the one before."""

    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint("seq"),
        partial("ix_events_unsealed", "position", where="seq IS NULL"),
        Index("ix_events_track_id", "track_id", "position"),
        Index("ix_events_client_id", "client_id", "seq"),
        {"sqlite_autoincrement": True},
    )

    position: Mapped[int] = mapped_column(BigInt, primary_key=True, autoincrement=True)
    event_id: Mapped[str] = mapped_column(String(40), unique=True)
    seq: Mapped[int | None] = mapped_column(BigInt)
    type: Mapped[str] = mapped_column(String(40))
    track_id: Mapped[str | None] = mapped_column(TrackId)
    client_id: Mapped[str | None] = mapped_column(String(40))
    batch_id: Mapped[str | None] = mapped_column(String(40))
    actor: Mapped[str] = mapped_column(String(60))
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    previous_hash: Mapped[str | None] = mapped_column(String(64))
    hash: Mapped[str | None] = mapped_column(String(64))


class IdempotencyKey(Base):
    """An `Idempotency-Key` of a client, written in the same transaction as what it made, and kept as long as that."""

    __tablename__ = "idempotency"

    client_id: Mapped[str] = mapped_column(ForeignKey("clients.client_id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_sha256: Mapped[str] = mapped_column(String(64))
    track_id: Mapped[str | None] = mapped_column(TrackId, index=True)
    batch_id: Mapped[str | None] = mapped_column(String(40))
    status_code: Mapped[int]
    location: Mapped[str]
    created_at: Mapped[datetime]


class Slot(Base):
    """The right to have one job with the provider. Free when `track_id` is null or `free_at` has passed."""

    __tablename__ = "slots"

    provider: Mapped[str] = mapped_column(String(40), primary_key=True)
    n: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    track_id: Mapped[str | None] = mapped_column(TrackId, index=True)
    free_at: Mapped[datetime | None]


class ProviderState(Base):
    """Whether a provider is paused, for everyone, and why. `paused_until` null with a reason: until somebody resumes
    it. `refusals` counts the refusals of every job in a row, and `probe_track_id` is the one job that is sent to see
    whether they have ended."""

    __tablename__ = "provider_state"

    provider: Mapped[str] = mapped_column(String(40), primary_key=True)
    paused_at: Mapped[datetime | None]
    paused_until: Mapped[datetime | None]
    paused_reason: Mapped[str | None]
    paused_by: Mapped[str | None] = mapped_column(String(60))
    refusals: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    probe_track_id: Mapped[str | None] = mapped_column(TrackId)


class CounterRow(Base):
    """How often something happened in a span of time that begins at `bucket_at`; of all time where `span_s` is 0.
    `client_id` is empty where it concerned nobody's job; `cell` is the duration's, 0 for what has none."""

    __tablename__ = "counters"
    __table_args__ = (Index("ix_counters_bucket_at", "span_s", "bucket_at"),)

    client_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    span_s: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    bucket_at: Mapped[datetime] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    cell: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    value: Mapped[int] = mapped_column(BigInt)


class Erasure(Base):
    """The erasing of one job, or of all that a filter found, each by a row of its own below this one. `filter` is there
    until all are marked, then its digest alone; `digests` are those of the bytes that go. `due_at` is the next act."""

    __tablename__ = "erasures"
    __table_args__ = (
        CheckConstraint(one_of("status", ErasureStatus), name="status"),
        CheckConstraint("(completed_at IS NOT NULL) = (status = 'done')", name="completed_when_done"),
        CheckConstraint("(track_id IS NULL) = (filter_sha256 IS NOT NULL)", name="one_or_many"),
        partial("ix_erasures_due", "due_at", where="due_at IS NOT NULL"),
        partial("ix_erasures_parent", "parent_id", "completed_at", where="parent_id IS NOT NULL"),
    )

    erasure_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    parent_id: Mapped[str | None] = mapped_column(String(40), ForeignKey("erasures.erasure_id"))
    client_id: Mapped[str | None] = mapped_column(String(40))
    track_id: Mapped[str | None] = mapped_column(TrackId, ForeignKey("jobs.track_id"), unique=True)
    filter: Mapped[dict[str, Any] | None]
    filter_sha256: Mapped[str | None] = mapped_column(String(64))
    matched: Mapped[int]
    status: Mapped[str] = mapped_column(String(16))
    requested_at: Mapped[datetime]
    requested_by: Mapped[str] = mapped_column(String(60))
    completed_at: Mapped[datetime | None]
    provider_copy: Mapped[str | None] = mapped_column(String(16))
    provider_tries: Mapped[int] = mapped_column(default=0)
    digests: Mapped[list[Any]]
    due_at: Mapped[datetime | None]
