"""Endpoints of clients, deliveries to them with their attempts, receivers that fail, and the secrets that sign."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
PENDING = "status = 'pending'"
PARTIAL = {
    "ix_endpoints_receiver": ("endpoints", ["receiver"], "disabled_at IS NULL"),
    "ix_endpoints_recover": ("endpoints", ["recover_after"], "recover_after IS NOT NULL"),
    "ix_deliveries_track_id": ("deliveries", ["track_id"], "track_id IS NOT NULL"),
    "ix_deliveries_endpoint_id": ("deliveries", ["endpoint_id", "created_at"], "endpoint_id IS NOT NULL"),
    "ix_deliveries_due": ("deliveries", ["due_at"], PENDING),
    "ix_deliveries_receiver": ("deliveries", ["receiver", "due_at"], PENDING),
    "ix_deliveries_lease": ("deliveries", ["lease_until"], "lease_until IS NOT NULL"),
    "ix_jobs_webhook": ("jobs", ["track_id"], "webhook IS NOT NULL"),
}


def create_endpoints() -> None:
    op.create_table(
        "endpoints",
        sa.Column("endpoint_id", sa.String(40), nullable=False),
        sa.Column("client_id", sa.String(40), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("receiver", sa.String(40), nullable=False),
        sa.Column("events", JSON, nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("previous_secret", sa.Text(), nullable=True),
        sa.Column("previous_until", INSTANT, nullable=True),
        sa.Column("disabled_at", INSTANT, nullable=True),
        sa.Column("disabled_reason", sa.String(24), nullable=True),
        sa.Column("recover_after", BIGINT, nullable=True),
        sa.Column("recover_until", BIGINT, nullable=True),
        sa.Column("recover_since", INSTANT, nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "(disabled_at IS NULL) = (disabled_reason IS NULL)", name="ck_endpoints_disabled_with_reason"
        ),
        sa.ForeignKeyConstraint(["client_id"], ["clients.client_id"], name="fk_endpoints_client_id"),
        sa.PrimaryKeyConstraint("endpoint_id", name="pk_endpoints"),
    )
    op.create_index("ix_endpoints_client_id", "endpoints", ["client_id", "created_at", "endpoint_id"])


def create_secrets_and_receivers() -> None:
    op.create_table(
        "webhook_secrets",
        sa.Column("client_id", sa.String(40), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("previous_secret", sa.Text(), nullable=True),
        sa.Column("previous_until", INSTANT, nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["client_id"], ["clients.client_id"], name="fk_webhook_secrets_client_id"),
        sa.PrimaryKeyConstraint("client_id", name="pk_webhook_secrets"),
    )
    op.create_table(
        "receivers",
        sa.Column("receiver", sa.String(40), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", INSTANT, nullable=True),
        sa.Column("open_until", INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("receiver", name="pk_receivers"),
    )


def create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("delivery_id", sa.String(40), nullable=False),
        sa.Column("client_id", sa.String(40), nullable=False),
        sa.Column("event_id", sa.String(40), nullable=False),
        sa.Column("type", sa.String(40), nullable=False),
        sa.Column("track_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("batch_id", sa.String(40), nullable=True),
        sa.Column("endpoint_id", sa.String(40), nullable=True),
        sa.Column("of_job", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("receiver", sa.String(40), nullable=False),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(24), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("rung", sa.Integer(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("due_at", INSTANT, nullable=True),
        sa.Column("finished_at", INSTANT, nullable=True),
        sa.Column("lease_owner", sa.String(80), nullable=True),
        sa.Column("lease_until", INSTANT, nullable=True),
        sa.Column("fence", BIGINT, nullable=False),
        sa.CheckConstraint(
            "status IN ('pending', 'succeeded', 'failed', 'blocked', 'canceled')", name="ck_deliveries_status"
        ),
        sa.CheckConstraint(f"({PENDING}) = (due_at IS NOT NULL)", name="ck_deliveries_due_while_pending"),
        sa.CheckConstraint(f"({PENDING}) = (finished_at IS NULL)", name="ck_deliveries_finished_unless_pending"),
        sa.CheckConstraint(
            "status <> 'pending' OR (body IS NOT NULL AND url IS NOT NULL)", name="ck_deliveries_pending_has_body"
        ),
        sa.PrimaryKeyConstraint("delivery_id", name="pk_deliveries"),
        sa.UniqueConstraint("event_id", "receiver", name="uq_deliveries_event_id_receiver"),
    )
    op.create_index("ix_deliveries_client_id", "deliveries", ["client_id", "created_at", "delivery_id"])
    op.create_index("ix_deliveries_created_at", "deliveries", ["created_at", "delivery_id"])


def create_attempts() -> None:
    op.create_table(
        "delivery_attempts",
        sa.Column("delivery_id", sa.String(40), nullable=False),
        sa.Column("n", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sent_at", INSTANT, nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("error", sa.String(40), nullable=True),
        sa.Column("excerpt", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["delivery_id"], ["deliveries.delivery_id"], name="fk_delivery_attempts_delivery_id"),
        sa.PrimaryKeyConstraint("delivery_id", "n", name="pk_delivery_attempts"),
    )


def upgrade() -> None:
    create_endpoints()
    create_secrets_and_receivers()
    create_deliveries()
    create_attempts()
    for name, (table, columns, condition) in PARTIAL.items():
        where = sa.text(condition)
        op.create_index(name, table, columns, postgresql_where=where, sqlite_where=where)


def downgrade() -> None:
    for name, (table, _, _) in reversed(PARTIAL.items()):
        op.drop_index(name, table)
    for table in ("delivery_attempts", "deliveries", "receivers", "webhook_secrets", "endpoints"):
        op.drop_table(table)
