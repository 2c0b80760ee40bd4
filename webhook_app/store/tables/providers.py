"""How many jobs a provider has at once, and whether it is paused."""

from datetime import datetime

from sqlalchemy import String, text
from sqlalchemy.orm import Mapped, mapped_column

from webhook_app.store.tables.base import Base, TrackId


class Slot(Base):
    """The right to have one job with the provider. Free when `track_id` is null or `free_at` has passed."""

    __tablename__ = "slots"

    provider: Mapped[str] = mapped_column(String(40), primary_key=True)
    n: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    track_id: Mapped[str | None] = mapped_column(TrackId, index=True)
    free_at: Mapped[datetime | None]


class ProviderState(Base):
    """Whether a provider is paused, for everyone, and why. `paused_until` null with a reason: until somebody resumes
    it. `refusals` counts the refusals of every job in a row, and `probe_track_id` is the one job that is sent to see
    whether they have ended."""

    __tablename__ = "provider_state"

    provider: Mapped[str] = mapped_column(String(40), primary_key=True)
    paused_at: Mapped[datetime | None]
    paused_until: Mapped[datetime | None]
    paused_reason: Mapped[str | None]
    paused_by: Mapped[str | None] = mapped_column(String(60))
    refusals: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    probe_track_id: Mapped[str | None] = mapped_column(TrackId)
