"""The append-only log, its signed heads, and the counters folded from it."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from webhook_app.store.tables.base import Base, TrackId, partial
from webhook_app.store.types import BigInt


class EventRow(Base):
    """The log. `position` is the order of insertion, `seq` the order of the sealed log, given once, gapless;
    `previous_hash` and `hash` chain each event to the one before. Triggers refuse every other change of a row, and its
    removal."""

    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint("seq"),
        partial("ix_events_unsealed", "position", where="seq IS NULL"),
        partial("ix_events_unchained", "seq", where="seq IS NOT NULL AND hash IS NULL"),
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


class LogRow(Base):
    """The log's own facts: one row, made with the table. `log_id` tells followers which log they follow."""

    __tablename__ = "log"
    __table_args__ = (CheckConstraint("number = 1", name="one"),)

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    log_id: Mapped[str] = mapped_column(String(40))
    created_at: Mapped[datetime]


class LogHead(Base):
    """A signed statement that the log ended with this `seq` and `hash`. `archived_at` None: no copy lies outside the
    database yet."""

    __tablename__ = "log_heads"
    __table_args__ = (partial("ix_log_heads_unarchived", "seq", where="archived_at IS NULL"),)

    seq: Mapped[int] = mapped_column(BigInt, primary_key=True, autoincrement=False)
    hash: Mapped[str] = mapped_column(String(64))
    signed_at: Mapped[datetime]
    key_id: Mapped[str] = mapped_column(ForeignKey("signing_keys.key_id"))
    signature: Mapped[str]
    archived_at: Mapped[datetime | None]


class SigningKey(Base):
    """A public key that signs heads or did so. `key_id` is its thumbprint (RFC 7638), `public_key` base64url."""

    __tablename__ = "signing_keys"

    key_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    public_key: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]


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
