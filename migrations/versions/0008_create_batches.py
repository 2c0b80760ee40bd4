"""Batches, and what finds the work that one of them still has."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
COUNTS = ("canceled", "failed", "succeeded", "timed_out")
ENDED = " + ".join(COUNTS)
OPEN = "batch_id IS NOT NULL AND (completed_at IS NULL OR archive_status = 'pending')"
KEYS = "batch_id IS NOT NULL"


def upgrade() -> None:
    op.create_table(
        "batches",
        sa.Column("batch_id", sa.String(40), nullable=False),
        sa.Column("client_id", sa.String(40), nullable=False),
        sa.Column("created_by", sa.String(40), nullable=False),
        sa.Column("jobs", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in COUNTS),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("completed_at", INSTANT, nullable=True),
        sa.CheckConstraint(f"({ENDED}) <= jobs", name="ck_batches_ended_within_jobs"),
        sa.CheckConstraint(" AND ".join(f"{name} >= 0" for name in COUNTS), name="ck_batches_counts"),
        sa.CheckConstraint(f"(completed_at IS NOT NULL) = (({ENDED}) = jobs)", name="ck_batches_completed_when_ended"),
        sa.ForeignKeyConstraint(["client_id"], ["clients.client_id"], name="fk_batches_client_id"),
        sa.PrimaryKeyConstraint("batch_id", name="pk_batches"),
    )
    op.create_index("ix_batches_client_id_created_at", "batches", ["client_id", "created_at", "batch_id"])
    op.create_index("ix_batches_created_at", "batches", ["created_at", "batch_id"])
    op.create_index(
        "ix_jobs_batch_open", "jobs", ["batch_id"], postgresql_where=sa.text(OPEN), sqlite_where=sa.text(OPEN)
    )
    op.create_index(
        "ix_idempotency_batch_id",
        "idempotency",
        ["batch_id"],
        postgresql_where=sa.text(KEYS),
        sqlite_where=sa.text(KEYS),
    )


def downgrade() -> None:
    op.drop_index("ix_idempotency_batch_id", "idempotency")
    op.drop_index("ix_jobs_batch_open", "jobs")
    op.drop_table("batches")
