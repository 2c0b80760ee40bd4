"""What tells of submits that nobody confirmed, and of a provider that refuses every job."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_attempts_repeats": ("sent_at", "repeats_unconfirmed"),
    "ix_attempts_unconfirmed": ("unconfirmed_at", "unconfirmed_at IS NOT NULL"),
    "ix_attempts_eta": ("sent_at", "eta_s IS NOT NULL"),
}


def upgrade() -> None:
    op.add_column("attempts", sa.Column("repeats_unconfirmed", sa.Boolean(), nullable=False, server_default=sa.false()))
    for name, (column, condition) in INDEXES.items():
        where = sa.text(condition)
        op.create_index(name, "attempts", [column], postgresql_where=where, sqlite_where=where)
    op.add_column("provider_state", sa.Column("refusals", sa.Integer(), nullable=False, server_default=sa.text("0")))
    op.add_column("provider_state", sa.Column("probe_track_id", sa.Uuid(as_uuid=False), nullable=True))


def downgrade() -> None:
    op.drop_column("provider_state", "probe_track_id")
    op.drop_column("provider_state", "refusals")
    for name in INDEXES:
        op.drop_index(name, "attempts")
    op.drop_column("attempts", "repeats_unconfirmed")
