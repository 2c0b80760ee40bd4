"""Batches: jobs that were submitted together, and how many of them have ended."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from webhook_app.domain.job import TERMINAL
from webhook_app.store.tables.base import Base

ENDED = " + ".join(sorted(TERMINAL))


class Batch(Base):
    """`jobs` is how many it has; the others count those that have ended so, and are written under the jobs' locks. It
    is completed when all have ended, and stays so: a failure that turns into a success only moves between two."""

    __tablename__ = "batches"
    __table_args__ = (
        CheckConstraint(f"({ENDED}) <= jobs", name="ended_within_jobs"),
        CheckConstraint(" AND ".join(f"{status} >= 0" for status in sorted(TERMINAL)), name="counts"),
        CheckConstraint(f"(completed_at IS NOT NULL) = (({ENDED}) = jobs)", name="completed_when_ended"),
        Index("ix_batches_client_id_created_at", "client_id", "created_at", "batch_id"),
        Index("ix_batches_created_at", "created_at", "batch_id"),
    )

    batch_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("clients.client_id"))
    created_by: Mapped[str] = mapped_column(String(40))
    jobs: Mapped[int]
    succeeded: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    canceled: Mapped[int] = mapped_column(default=0)
    timed_out: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    completed_at: Mapped[datetime | None]
