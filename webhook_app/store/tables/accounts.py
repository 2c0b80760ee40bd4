"""Who may ask: clients, their keys, and the idempotency keys of their requests."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from webhook_app.store.tables.base import Base, TrackId, partial


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


class IdempotencyKey(Base):
    """An `Idempotency-Key` of a client, written in the same transaction as what it made, and kept as long as that."""

    __tablename__ = "idempotency"
    __table_args__ = (partial("ix_idempotency_batch_id", "batch_id", where="batch_id IS NOT NULL"),)

    client_id: Mapped[str] = mapped_column(ForeignKey("clients.client_id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_sha256: Mapped[str] = mapped_column(String(64))
    track_id: Mapped[str | None] = mapped_column(TrackId, index=True)
    batch_id: Mapped[str | None] = mapped_column(String(40))
    status_code: Mapped[int]
    location: Mapped[str]
    created_at: Mapped[datetime]
