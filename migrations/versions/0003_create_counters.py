"""The counters behind the statistics, folded from the log by the sealer."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "counters",
        sa.Column("client_id", sa.String(40), nullable=False),
        sa.Column("span_s", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("bucket_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("cell", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("value", BIGINT, nullable=False),
        sa.PrimaryKeyConstraint("client_id", "span_s", "bucket_at", "name", "cell", name="pk_counters"),
    )
    op.create_index("ix_counters_bucket_at", "counters", ["span_s", "bucket_at"])


def downgrade() -> None:
    op.drop_table("counters")
