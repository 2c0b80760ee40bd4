"""Jobs, their attempts, and what the provider reported of them."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from webhook_app.domain.job import TERMINAL, ArchiveStatus, Evidence, Status
from webhook_app.store.tables.base import Base, TrackId, one_of, partial
from webhook_app.store.types import BigInt, Json


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
        partial(
            "ix_jobs_batch_open",
            "batch_id",
            where="batch_id IS NOT NULL AND (completed_at IS NULL OR archive_status = 'pending')",
        ),
        partial("ix_jobs_webhook", "track_id", where="webhook IS NOT NULL"),
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
    key. `names_track_id` is the other job that the body itself names, if it names one."""

    __tablename__ = "callbacks"
    __table_args__ = (
        UniqueConstraint("track_id", "attempt", "sha256"),
        Index("ix_callbacks_received_at", "received_at", "callback_id"),
        partial("ix_callbacks_unapplied", "retry_at", where="applied_at IS NULL"),
        partial("ix_callbacks_orphaned", "received_at", "callback_id", where="verdict = 'orphaned'"),
        partial("ix_callbacks_names_track_id", "names_track_id", where="names_track_id IS NOT NULL"),
    )

    callback_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    provider: Mapped[str] = mapped_column(String(40))
    track_id: Mapped[str] = mapped_column(TrackId)
    names_track_id: Mapped[str | None] = mapped_column(TrackId)
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
