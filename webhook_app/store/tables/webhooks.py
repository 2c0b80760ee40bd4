"""What we send to clients: their endpoints, the deliveries, each attempt, and how receivers have done of late."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from webhook_app.domain.webhooks import DeliveryStatus
from webhook_app.store.tables.base import Base, TrackId, one_of, partial
from webhook_app.store.types import BigInt


class Endpoint(Base):
    """A client's standing URL. `events` null means the defaults. Both secrets are locked (`domain/vault`); the previous
    one signs too until `previous_until`. Events from `recover_after` up to `recover_until` are delivered once more."""

    __tablename__ = "endpoints"
    __table_args__ = (
        CheckConstraint("(disabled_at IS NULL) = (disabled_reason IS NULL)", name="disabled_with_reason"),
        Index("ix_endpoints_client_id", "client_id", "created_at", "endpoint_id"),
        partial("ix_endpoints_receiver", "receiver", where="disabled_at IS NULL"),
        partial("ix_endpoints_recover", "recover_after", where="recover_after IS NOT NULL"),
    )

    endpoint_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("clients.client_id"))
    url: Mapped[str]
    receiver: Mapped[str] = mapped_column(String(40))
    events: Mapped[list[Any] | None]
    description: Mapped[str | None]
    secret: Mapped[str]
    previous_secret: Mapped[str | None]
    previous_until: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None] = mapped_column(String(24))
    recover_after: Mapped[int | None] = mapped_column(BigInt)
    recover_until: Mapped[int | None] = mapped_column(BigInt)
    recover_since: Mapped[datetime | None]
    created_at: Mapped[datetime]


class WebhookSecret(Base):
    """A client's secret for the URLs that its jobs name themselves; locked like an endpoint's."""

    __tablename__ = "webhook_secrets"

    client_id: Mapped[str] = mapped_column(ForeignKey("clients.client_id"), primary_key=True)
    secret: Mapped[str]
    previous_secret: Mapped[str | None]
    previous_until: Mapped[datetime | None]
    created_at: Mapped[datetime]


class Receiver(Base):
    """The breaker of a client's URL; a row is there only while its last answers were failures."""

    __tablename__ = "receivers"

    receiver: Mapped[str] = mapped_column(String(40), primary_key=True)
    failures: Mapped[int]
    failing_since: Mapped[datetime | None]
    open_until: Mapped[datetime | None]


class Delivery(Base):
    """One event on its way to one URL. `body` is fixed when the row is made; body and URL are null once its job is
    erased. `of_job`: the job itself names the URL. `rung` is its place on the ladder, `attempts` how often it was sent.
    No foreign keys: the sealer makes these rows and must not wait for whoever has the job locked."""

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("event_id", "receiver"),
        CheckConstraint(one_of("status", DeliveryStatus), name="status"),
        CheckConstraint("(status = 'pending') = (due_at IS NOT NULL)", name="due_while_pending"),
        CheckConstraint("(status = 'pending') = (finished_at IS NULL)", name="finished_unless_pending"),
        CheckConstraint("status <> 'pending' OR (body IS NOT NULL AND url IS NOT NULL)", name="pending_has_body"),
        Index("ix_deliveries_client_id", "client_id", "created_at", "delivery_id"),
        Index("ix_deliveries_created_at", "created_at", "delivery_id"),
        partial("ix_deliveries_track_id", "track_id", where="track_id IS NOT NULL"),
        partial("ix_deliveries_endpoint_id", "endpoint_id", "created_at", where="endpoint_id IS NOT NULL"),
        partial("ix_deliveries_due", "due_at", where="status = 'pending'"),
        partial("ix_deliveries_receiver", "receiver", "due_at", where="status = 'pending'"),
        partial("ix_deliveries_lease", "lease_until", where="lease_until IS NOT NULL"),
    )

    delivery_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    client_id: Mapped[str] = mapped_column(String(40))
    event_id: Mapped[str] = mapped_column(String(40))
    type: Mapped[str] = mapped_column(String(40))
    track_id: Mapped[str | None] = mapped_column(TrackId)
    batch_id: Mapped[str | None] = mapped_column(String(40))
    endpoint_id: Mapped[str | None] = mapped_column(String(40))
    of_job: Mapped[bool] = mapped_column(default=False, server_default=false())
    url: Mapped[str | None]
    receiver: Mapped[str] = mapped_column(String(40))
    body: Mapped[str | None]
    status: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String(24))
    attempts: Mapped[int] = mapped_column(default=0)
    rung: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    due_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    lease_owner: Mapped[str | None] = mapped_column(String(80))
    lease_until: Mapped[datetime | None]
    fence: Mapped[int] = mapped_column(BigInt, default=0)


class DeliveryAttempt(Base):
    """One send of a delivery: a status, or the word for why there was none; `excerpt` is how the answer began."""

    __tablename__ = "delivery_attempts"

    delivery_id: Mapped[str] = mapped_column(ForeignKey("deliveries.delivery_id"), primary_key=True)
    n: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sent_at: Mapped[datetime]
    duration_ms: Mapped[int]
    status_code: Mapped[int | None]
    error: Mapped[str | None] = mapped_column(String(40))
    excerpt: Mapped[str | None]
