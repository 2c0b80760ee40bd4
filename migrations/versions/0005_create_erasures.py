"""Erasures, and what finds the jobs that are due for one and the bytes that nobody shows any more."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(sa.dialects.postgresql.JSONB(), "postgresql")
INDEXES = {
    "ix_erasures_due": ("erasures", ["due_at"], "due_at IS NOT NULL"),
    "ix_erasures_parent": ("erasures", ["parent_id", "completed_at"], "parent_id IS NOT NULL"),
    "ix_jobs_retention": ("jobs", ["completed_at"], "completed_at IS NOT NULL AND erased_at IS NULL"),
    "ix_blobs_unreferenced": ("blobs", ["created_at"], "reference_count = 0"),
}


def upgrade() -> None:
    op.create_table(
        "erasures",
        sa.Column("erasure_id", sa.String(40), nullable=False),
        sa.Column("parent_id", sa.String(40), nullable=True),
        sa.Column("client_id", sa.String(40), nullable=True),
        sa.Column("track_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("filter", JSON, nullable=True),
        sa.Column("filter_sha256", sa.String(64), nullable=True),
        sa.Column("matched", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("requested_at", INSTANT, nullable=False),
        sa.Column("requested_by", sa.String(60), nullable=False),
        sa.Column("completed_at", INSTANT, nullable=True),
        sa.Column("provider_copy", sa.String(16), nullable=True),
        sa.Column("provider_tries", sa.Integer(), nullable=False),
        sa.Column("digests", JSON, nullable=False),
        sa.Column("due_at", INSTANT, nullable=True),
        sa.CheckConstraint("status IN ('pending', 'running', 'done')", name="ck_erasures_status"),
        sa.CheckConstraint("(completed_at IS NOT NULL) = (status = 'done')", name="ck_erasures_completed_when_done"),
        sa.CheckConstraint("(track_id IS NULL) = (filter_sha256 IS NOT NULL)", name="ck_erasures_one_or_many"),
        sa.ForeignKeyConstraint(["parent_id"], ["erasures.erasure_id"], name="fk_erasures_parent_id"),
        sa.ForeignKeyConstraint(["track_id"], ["jobs.track_id"], name="fk_erasures_track_id"),
        sa.PrimaryKeyConstraint("erasure_id", name="pk_erasures"),
        sa.UniqueConstraint("track_id", name="uq_erasures_track_id"),
    )
    op.add_column("blobs", sa.Column("lease_until", INSTANT, nullable=True))
    for name, (table, columns, condition) in INDEXES.items():
        where = sa.text(condition)
        op.create_index(name, table, columns, postgresql_where=where, sqlite_where=where)


def downgrade() -> None:
    for name, (table, _, _) in reversed(INDEXES.items()):
        op.drop_index(name, table)
    op.drop_column("blobs", "lease_until")
    op.drop_table("erasures")
