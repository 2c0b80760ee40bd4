"""How each provider stands: its pause and why, its slots, and the jobs that wait for it or are with it."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, or_, select

from webhook_app.domain.job import IN_FLIGHT, Status
from webhook_app.store.tables import Job, ProviderState, Slot

MOST_COUNTED = 10_000  # Nobody decides otherwise beyond it, and counting 100,000 rows costs 10 ms for every look.
NEVER_PAUSED = {"paused_at": None, "paused_until": None, "paused_reason": None, "paused_by": None, "refusals": 0}


def providers(connection: Connection, names: Iterable[str], *, now: datetime) -> list[dict[str, Any]]:
    """These providers by name, each with `slots_in_use`, `queued` and `in_flight` (both counted up to 10,000), and its
    pause: `paused_at` is None where there is none."""
    states = {row["provider"]: row for row in provider_state(connection)}
    return [
        NEVER_PAUSED
        | states.get(name, {})
        | {
            "provider": name,
            "slots_in_use": _slots_in_use(connection, name, now),
            "queued": _count(connection, Job.provider == name, Job.status == Status.QUEUED),
            "in_flight": _count(connection, *_in_flight(name)),
        }
        for name in sorted(names)
    ]


def provider_state(connection: Connection) -> list[dict[str, Any]]:
    """Pauses and why, one row for each provider that was ever paused."""
    statement = select(ProviderState.__table__).order_by(ProviderState.provider).limit(100)
    return [dict(row._mapping) for row in connection.execute(statement)]


def paused_providers(connection: Connection, now: datetime) -> dict[str, datetime | None]:
    """The providers to which nothing is sent now, and until when; None: until somebody resumes them."""
    statement = select(ProviderState.provider, ProviderState.paused_until)
    holds = or_(ProviderState.paused_until.is_(None), ProviderState.paused_until > now)
    rows = connection.execute(statement.where(ProviderState.paused_at.is_not(None), holds))
    return {row.provider: row.paused_until for row in rows}


def _slots_in_use(connection: Connection, provider: str, now: datetime) -> int:
    held = (Slot.provider == provider, Slot.track_id.is_not(None), Slot.free_at >= now)
    return int(connection.scalar(select(func.count()).where(*held)) or 0)


def _in_flight(provider: str) -> tuple[ColumnElement[bool], ...]:
    # Whatever is with a provider has a deadline: the index on those leads here.
    unfinished = (Job.deadline_at.is_not(None), Job.completed_at.is_(None))
    return (*unfinished, Job.provider == provider, Job.status.in_(sorted(IN_FLIGHT)))


def _count(connection: Connection, *where: ColumnElement[bool]) -> int:
    some = select(Job.number).where(*where).limit(MOST_COUNTED).subquery()
    return int(connection.scalar(select(func.count()).select_from(some)) or 0)
