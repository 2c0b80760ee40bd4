"""The tables of the first path: clients and keys, jobs with their attempts and pictures, callbacks, the log."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TRACK_ID = sa.Uuid(as_uuid=False)


def where(condition: str) -> dict[str, Any]:
    """The same partial index on both databases."""
    return {"postgresql_where": sa.text(condition), "sqlite_where": sa.text(condition)}


def create_blobs() -> None:
    op.create_table(
        "blobs",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reference_count", sa.Integer(), nullable=False),
        sa.Column("content_type", sa.String(length=40), nullable=False),
        sa.Column("bytes", BIGINT, nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("trailing_bytes", BIGINT, nullable=False),
        sa.Column("thumbnails", JSON, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.CheckConstraint("state IN ('putting', 'stored', 'deleting')", name="ck_blobs_state"),
        sa.CheckConstraint("reference_count >= 0", name="ck_blobs_reference_count"),
        sa.PrimaryKeyConstraint("sha256", name="pk_blobs"),
    )


def create_callbacks() -> None:
    op.create_table(
        "callbacks",
        sa.Column("callback_id", sa.String(length=40), nullable=False),
        sa.Column("provider", sa.String(length=40), nullable=False),
        sa.Column("track_id", TRACK_ID, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("times_seen", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("content_type", sa.Text(), nullable=True),
        sa.Column("headers", JSON, nullable=False),
        sa.Column("remote_addr", sa.Text(), nullable=True),
        sa.Column("verdict", sa.String(length=16), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.Column("last_seen_at", INSTANT, nullable=False),
        sa.Column("applied_at", INSTANT, nullable=True),
        sa.Column("retry_at", INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("callback_id", name="pk_callbacks"),
        sa.UniqueConstraint("track_id", "attempt", "sha256", name="uq_callbacks_track_id_attempt_sha256"),
    )
    op.create_index("ix_callbacks_received_at", "callbacks", ["received_at", "callback_id"])
    op.create_index("ix_callbacks_unapplied", "callbacks", ["retry_at"], **where("applied_at IS NULL"))
    orphaned = where("verdict = 'orphaned'")
    op.create_index("ix_callbacks_orphaned", "callbacks", ["received_at", "callback_id"], **orphaned)


def create_clients() -> None:
    op.create_table(
        "clients",
        sa.Column("client_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("client_id", name="pk_clients"),
        sa.UniqueConstraint("name", name="uq_clients_name"),
    )


def create_events() -> None:
    op.create_table(
        "events",
        sa.Column("position", BIGINT, autoincrement=True, nullable=False),
        sa.Column("event_id", sa.String(length=40), nullable=False),
        sa.Column("seq", BIGINT, nullable=True),
        sa.Column("type", sa.String(length=40), nullable=False),
        sa.Column("track_id", TRACK_ID, nullable=True),
        sa.Column("client_id", sa.String(length=40), nullable=True),
        sa.Column("batch_id", sa.String(length=40), nullable=True),
        sa.Column("actor", sa.String(length=60), nullable=False),
        sa.Column("data", JSON, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=True),
        sa.Column("hash", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("position", name="pk_events"),
        sa.UniqueConstraint("event_id", name="uq_events_event_id"),
        sa.UniqueConstraint("seq", name="uq_events_seq"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_client_id", "events", ["client_id", "seq"])
    op.create_index("ix_events_track_id", "events", ["track_id", "position"])
    op.create_index("ix_events_unsealed", "events", ["position"], **where("seq IS NULL"))


def create_provider_state() -> None:
    op.create_table(
        "provider_state",
        sa.Column("provider", sa.String(length=40), nullable=False),
        sa.Column("paused_at", INSTANT, nullable=True),
        sa.Column("paused_until", INSTANT, nullable=True),
        sa.Column("paused_reason", sa.Text(), nullable=True),
        sa.Column("paused_by", sa.String(length=60), nullable=True),
        sa.PrimaryKeyConstraint("provider", name="pk_provider_state"),
    )


def create_slots() -> None:
    op.create_table(
        "slots",
        sa.Column("provider", sa.String(length=40), nullable=False),
        sa.Column("n", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("track_id", TRACK_ID, nullable=True),
        sa.Column("free_at", INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("provider", "n", name="pk_slots"),
    )
    op.create_index("ix_slots_track_id", "slots", ["track_id"])


def create_api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("client_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("scopes", JSON, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("revoked_at", INSTANT, nullable=True),
        sa.ForeignKeyConstraint(["client_id"], ["clients.client_id"], name="fk_api_keys_client_id"),
        sa.PrimaryKeyConstraint("key_id", name="pk_api_keys"),
        sa.UniqueConstraint("sha256", name="uq_api_keys_sha256"),
    )
    op.create_index("ix_api_keys_client_id", "api_keys", ["client_id"])


def create_idempotency() -> None:
    op.create_table(
        "idempotency",
        sa.Column("client_id", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("request_sha256", sa.String(length=64), nullable=False),
        sa.Column("track_id", TRACK_ID, nullable=True),
        sa.Column("batch_id", sa.String(length=40), nullable=True),
        sa.Column("status_code", sa.Integer(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["client_id"], ["clients.client_id"], name="fk_idempotency_client_id"),
        sa.PrimaryKeyConstraint("client_id", "key", name="pk_idempotency"),
    )
    op.create_index("ix_idempotency_track_id", "idempotency", ["track_id"])


def create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("number", BIGINT, autoincrement=True, nullable=False),
        sa.Column("track_id", TRACK_ID, nullable=False),
        sa.Column("client_id", sa.String(length=40), nullable=False),
        sa.Column("created_by", sa.String(length=40), nullable=False),
        sa.Column("provider", sa.String(length=40), nullable=False),
        sa.Column("model", sa.String(length=80), nullable=False),
        sa.Column("input", JSON, nullable=False),
        sa.Column("seed", BIGINT, nullable=True),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column("reference", sa.String(length=200), nullable=True),
        sa.Column("webhook", sa.Text(), nullable=True),
        sa.Column("webhook_events", JSON, nullable=True),
        sa.Column("metadata", JSON, nullable=False),
        sa.Column("tags", JSON, nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("timeout_s", sa.Integer(), nullable=False),
        sa.Column("batch_id", sa.String(length=40), nullable=True),
        sa.Column("parent_track_id", TRACK_ID, nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("previous_status", sa.String(length=16), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("spent", sa.Integer(), nullable=False),
        sa.Column("waiting_for", sa.String(length=24), nullable=True),
        sa.Column("provider_job_id", sa.Text(), nullable=True),
        sa.Column("provider_status", sa.Text(), nullable=True),
        sa.Column("provider_meta", JSON, nullable=False),
        sa.Column("archive_status", sa.String(length=16), nullable=False),
        sa.Column("flags", JSON, nullable=False),
        sa.Column("error", JSON, nullable=True),
        sa.Column("generation_time_s", sa.Double(), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("submitted_at", INSTANT, nullable=True),
        sa.Column("completed_at", INSTANT, nullable=True),
        sa.Column("archived_at", INSTANT, nullable=True),
        sa.Column("deadline_at", INSTANT, nullable=True),
        sa.Column("overdue_at", INSTANT, nullable=True),
        sa.Column("unconfirmed_since", INSTANT, nullable=True),
        sa.Column("erased_at", INSTANT, nullable=True),
        sa.Column("due_at", INSTANT, nullable=True),
        sa.Column("lease_owner", sa.String(length=80), nullable=True),
        sa.Column("lease_until", INSTANT, nullable=True),
        sa.Column("fence", BIGINT, nullable=False),
        sa.CheckConstraint(
            "(completed_at IS NOT NULL) = (status IN ('canceled', 'failed', 'succeeded', 'timed_out'))",
            name="ck_jobs_completed_when_terminal",
        ),
        sa.CheckConstraint(
            "archive_status IN ('none', 'pending', 'archived', 'partial', 'lost', 'erased')",
            name="ck_jobs_archive_status",
        ),
        sa.CheckConstraint(
            "status IN ('queued', 'submitting', 'processing', 'succeeded', 'failed', 'canceled', 'timed_out')",
            name="ck_jobs_status",
        ),
        sa.CheckConstraint("attempt >= 0 AND spent >= 0", name="ck_jobs_attempts"),
        sa.CheckConstraint("priority BETWEEN -100 AND 100", name="ck_jobs_priority"),
        sa.ForeignKeyConstraint(["client_id"], ["clients.client_id"], name="fk_jobs_client_id"),
        sa.PrimaryKeyConstraint("number", name="pk_jobs"),
        sa.UniqueConstraint("track_id", name="uq_jobs_track_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_jobs_batch", "jobs", ["batch_id", "number"], **where("batch_id IS NOT NULL"))
    op.create_index(
        "ix_jobs_claim",
        "jobs",
        ["provider", "client_id", sa.literal_column("priority DESC"), "number"],
        **where("status = 'queued'"),
    )
    op.create_index("ix_jobs_client_id_created_at", "jobs", ["client_id", "created_at", "number"])
    op.create_index("ix_jobs_client_id_reference", "jobs", ["client_id", "reference"])
    op.create_index("ix_jobs_created_at", "jobs", ["created_at", "number"])
    op.create_index(
        "ix_jobs_deadline", "jobs", ["deadline_at"], **where("deadline_at IS NOT NULL AND completed_at IS NULL")
    )
    op.create_index("ix_jobs_lease", "jobs", ["lease_until"], **where("lease_until IS NOT NULL"))
    op.create_index("ix_jobs_overdue", "jobs", ["overdue_at"], **where("overdue_at IS NOT NULL"))
    op.create_index("ix_jobs_unconfirmed", "jobs", ["unconfirmed_since"], **where("unconfirmed_since IS NOT NULL"))


def create_attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("track_id", TRACK_ID, nullable=False),
        sa.Column("n", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sends", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(length=80), nullable=True),
        sa.Column("sent_at", INSTANT, nullable=False),
        sa.Column("answered_at", INSTANT, nullable=True),
        sa.Column("provider_job_id", sa.Text(), nullable=True),
        sa.Column("evidence", sa.String(length=16), nullable=False),
        sa.Column("evidence_at", INSTANT, nullable=True),
        sa.Column("error", JSON, nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("eta_s", sa.Double(), nullable=True),
        sa.Column("unconfirmed_at", INSTANT, nullable=True),
        sa.Column("poll_at", INSTANT, nullable=True),
        sa.Column("polls", sa.Integer(), nullable=False),
        sa.Column("polled_at", INSTANT, nullable=True),
        sa.CheckConstraint(
            "evidence IN ('none', 'not_sent', 'declined', 'running', 'retryable', 'permanent', 'success')",
            name="ck_attempts_evidence",
        ),
        sa.ForeignKeyConstraint(["track_id"], ["jobs.track_id"], name="fk_attempts_track_id"),
        sa.PrimaryKeyConstraint("track_id", "n", name="pk_attempts"),
    )
    op.create_index("ix_attempts_poll", "attempts", ["poll_at"], **where("poll_at IS NOT NULL"))
    op.create_index(
        "ix_attempts_provider_job_id", "attempts", ["provider_job_id"], **where("provider_job_id IS NOT NULL")
    )


def create_images() -> None:
    op.create_table(
        "images",
        sa.Column("image_id", sa.String(length=40), nullable=False),
        sa.Column("track_id", TRACK_ID, nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("sources", JSON, nullable=False),
        sa.Column("source_witness", sa.String(length=16), nullable=True),
        sa.Column("source_attempt", sa.Integer(), nullable=True),
        sa.Column("source_url", sa.Text(), nullable=True),
        sa.Column("source_expires_at", INSTANT, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("flags", JSON, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("archived_at", INSTANT, nullable=True),
        sa.Column("fetch_at", INSTANT, nullable=True),
        sa.Column("fetches", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.String(length=80), nullable=True),
        sa.Column("lease_until", INSTANT, nullable=True),
        sa.Column("fence", BIGINT, nullable=False),
        sa.CheckConstraint("status <> 'archived' OR sha256 IS NOT NULL", name="ck_images_archived_has_blob"),
        sa.CheckConstraint("status IN ('pending', 'archived', 'lost', 'erased')", name="ck_images_status"),
        sa.ForeignKeyConstraint(["sha256"], ["blobs.sha256"], name="fk_images_sha256"),
        sa.ForeignKeyConstraint(["track_id"], ["jobs.track_id"], name="fk_images_track_id"),
        sa.PrimaryKeyConstraint("image_id", name="pk_images"),
        sa.UniqueConstraint("track_id", "index", name="uq_images_track_id_index"),
    )
    op.create_index("ix_images_fetch", "images", ["source_expires_at"], **where("fetch_at IS NOT NULL"))
    op.create_index("ix_images_sha256", "images", ["sha256"], **where("sha256 IS NOT NULL"))


def upgrade() -> None:
    create_blobs()
    create_callbacks()
    create_clients()
    create_events()
    create_provider_state()
    create_slots()
    create_api_keys()
    create_idempotency()
    create_jobs()
    create_attempts()
    create_images()


def downgrade() -> None:
    op.drop_table("images")
    op.drop_table("attempts")
    op.drop_table("jobs")
    op.drop_table("idempotency")
    op.drop_table("api_keys")
    op.drop_table("slots")
    op.drop_table("provider_state")
    op.drop_table("events")
    op.drop_table("clients")
    op.drop_table("callbacks")
    op.drop_table("blobs")
