"""Erasures as the doors show them, and what would be erased by age."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from webhook_app.store.reads.standing import Waiting
from webhook_app.store.tables import Erasure, Job


def erasure(connection: Connection, erasure_id: str, client_id: str | None) -> dict[str, Any] | None:
    """One erasure, with `erased`: how many of its jobs are done. None when there is none or it is another client's
    (`client_id` None sees all)."""
    statement = select(Erasure.__table__).where(Erasure.erasure_id == erasure_id)
    if client_id is not None:
        statement = statement.where(Erasure.client_id == client_id)
    row = connection.execute(statement).one_or_none()
    if row is None:
        return None
    below = select(func.count()).where(Erasure.parent_id == erasure_id, Erasure.completed_at.is_not(None))
    done = int(row.completed_at is not None) if row.track_id else int(connection.scalar(below) or 0)
    return dict(row._mapping) | {"erased": done}


def past_retention(connection: Connection, *, before: datetime) -> Waiting:
    """How many jobs ended before that instant and are not erased, and when the oldest of them ended."""
    old = (Job.completed_at < before, Job.erased_at.is_(None))
    count, oldest = connection.execute(select(func.count(), func.min(Job.completed_at)).where(*old)).one()
    return Waiting(int(count), oldest)
