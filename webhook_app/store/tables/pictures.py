"""The pictures of jobs, the bytes behind them, and their erasing."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from webhook_app.domain.erasure import ErasureStatus
from webhook_app.domain.job import ImageStatus
from webhook_app.store.tables.base import Base, TrackId, one_of, partial
from webhook_app.store.types import BigInt


class Image(Base):
    """One picture of a job, made at submit, so that its URL exists from then on. `sources` are the provider's
    addresses, `source_witness` and `source_attempt` are who named them. `fetch_at` is the next try; `at_risk_at` is
    when somebody was warned that little time is left. `putting_sha256` names the bytes that an archiver began to put
    for it and has not spoken of since."""

    __tablename__ = "images"
    __table_args__ = (
        UniqueConstraint("track_id", "index"),
        CheckConstraint(one_of("status", ImageStatus), name="status"),
        CheckConstraint("status <> 'archived' OR sha256 IS NOT NULL", name="archived_has_blob"),
        partial("ix_images_fetch", "source_expires_at", where="fetch_at IS NOT NULL"),
        partial("ix_images_sha256", "sha256", where="sha256 IS NOT NULL"),
    )

    image_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    track_id: Mapped[str] = mapped_column(TrackId, ForeignKey("jobs.track_id"))
    index: Mapped[int]
    status: Mapped[str] = mapped_column(String(16))
    sources: Mapped[list[Any]]
    source_witness: Mapped[str | None] = mapped_column(String(16))
    source_attempt: Mapped[int | None]
    source_url: Mapped[str | None]
    source_expires_at: Mapped[datetime | None]
    reason: Mapped[str | None]
    flags: Mapped[list[Any]]
    sha256: Mapped[str | None] = mapped_column(String(64), ForeignKey("blobs.sha256"))
    putting_sha256: Mapped[str | None] = mapped_column(String(64))
    archived_at: Mapped[datetime | None]
    at_risk_at: Mapped[datetime | None]
    fetch_at: Mapped[datetime | None]
    fetches: Mapped[int] = mapped_column(default=0)
    lease_owner: Mapped[str | None] = mapped_column(String(80))
    lease_until: Mapped[datetime | None]
    fence: Mapped[int] = mapped_column(BigInt, default=0)


class Blob(Base):
    """The bytes behind archived pictures, once for each content. `reference_count` counts the images that show them;
    whoever removes the bytes of one that none shows, or mends those of one that is stored, has it until `lease_until`.
    `thumbnails` are their sizes, `thumbnail_sha256` their digests by size; `remove_tries` counts how often they could
    not be removed."""

    __tablename__ = "blobs"
    __table_args__ = (
        CheckConstraint(one_of("state", ("putting", "stored", "deleting")), name="state"),
        CheckConstraint("reference_count >= 0", name="reference_count"),
        partial("ix_blobs_unreferenced", "created_at", where="reference_count = 0"),
    )

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    reference_count: Mapped[int] = mapped_column(default=0)
    content_type: Mapped[str] = mapped_column(String(40))
    bytes: Mapped[int] = mapped_column(BigInt)
    width: Mapped[int]
    height: Mapped[int]
    trailing_bytes: Mapped[int] = mapped_column(BigInt, default=0)
    thumbnails: Mapped[list[Any]]
    thumbnail_sha256: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    lease_until: Mapped[datetime | None]
    remove_tries: Mapped[int] = mapped_column(default=0, server_default=text("0"))


class Erasure(Base):
    """The erasing of one job, or of all that a filter found, each by a row of its own below this one. `filter` is there
    until all are marked, then its digest alone; `digests` are those of the bytes that go; `copies` says by attempt what
    became of the provider's. `due_at` is the next act."""

    __tablename__ = "erasures"
    __table_args__ = (
        CheckConstraint(one_of("status", ErasureStatus), name="status"),
        CheckConstraint("(completed_at IS NOT NULL) = (status = 'done')", name="completed_when_done"),
        CheckConstraint("(track_id IS NULL) = (filter_sha256 IS NOT NULL)", name="one_or_many"),
        partial("ix_erasures_due", "due_at", where="due_at IS NOT NULL"),
        partial("ix_erasures_parent", "parent_id", "completed_at", where="parent_id IS NOT NULL"),
    )

    erasure_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    parent_id: Mapped[str | None] = mapped_column(String(40), ForeignKey("erasures.erasure_id"))
    client_id: Mapped[str | None] = mapped_column(String(40))
    track_id: Mapped[str | None] = mapped_column(TrackId, ForeignKey("jobs.track_id"), unique=True)
    filter: Mapped[dict[str, Any] | None]
    filter_sha256: Mapped[str | None] = mapped_column(String(64))
    matched: Mapped[int]
    status: Mapped[str] = mapped_column(String(16))
    requested_at: Mapped[datetime]
    requested_by: Mapped[str] = mapped_column(String(60))
    completed_at: Mapped[datetime | None]
    provider_copy: Mapped[str | None] = mapped_column(String(16))
    provider_tries: Mapped[int] = mapped_column(default=0)
    digests: Mapped[list[Any]]
    copies: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    due_at: Mapped[datetime | None]
