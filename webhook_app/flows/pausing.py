"""Pausing a provider for everyone: no room (429), or a refusal that concerns every job (key, credit). Costs no
attempt."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row

from webhook_app.domain import schedule
from webhook_app.domain.advance import PROVIDER_WIDE
from webhook_app.domain.events import Event, EventType
from webhook_app.domain.outcome import Later, NotSent, Outcome, Refused
from webhook_app.store import events, slots
from webhook_app.store.engine import Store

RUNNING: dict[str, Any] = {"paused_at": None, "paused_until": None, "paused_reason": None, "paused_by": None}


def pause_for(
    connection: Connection, reports: Sequence[tuple[dict[str, Any] | None, Outcome | NotSent]], *, now: datetime
) -> None:
    """Pause where an outcome of a known job says so; in the transaction of `apply`."""
    for job, outcome in reports:
        if job is None:
            continue
        if isinstance(outcome, Later):
            span = schedule.PAUSE_DEFAULT
            if outcome.retry_after_s is not None:
                span = timedelta(seconds=min(max(outcome.retry_after_s, 1.0), 3600.0))
            _pause(connection, job["provider"], reason="queue_full", by="provider", until=now + span, now=now)
        elif isinstance(outcome, Refused) and outcome.code in PROVIDER_WIDE:
            until = now + schedule.PAUSE_REFUSED
            _pause(connection, job["provider"], reason=outcome.code.value, by="provider", until=until, now=now)


def pause(store: Store, provider: str, *, reason: str, by: str, until: datetime | None, now: datetime) -> None:
    """Send nothing to the provider until then; None: until somebody resumes it."""
    with store.writing() as connection:
        _pause(connection, provider, reason=reason, by=by, until=until, now=now)


def resume(store: Store, provider: str, *, by: str, now: datetime) -> bool:
    """End the pause. False when there was none."""
    with store.writing() as connection:
        if slots.lock_state(connection, provider).paused_at is None:
            return False
        _resume(connection, provider, by=by, now=now)
        return True


def is_paused(connection: Connection, provider: str, *, now: datetime) -> bool:
    """Whether nothing may be sent now. A pause whose time is over ends here, in the caller's transaction."""
    row = slots.state(connection, provider)
    if row is None or row.paused_at is None:
        return False
    if _holds(row, now):
        return True
    # Looked at again under its lock: another worker may have ended the pause, or the provider begun a new one.
    row = slots.lock_state(connection, provider)
    if row.paused_at is not None and not _holds(row, now):
        _resume(connection, provider, by="worker", now=now)
        return False
    return row.paused_at is not None


def _holds(row: Row[Any], now: datetime) -> bool:
    return row.paused_at is not None and (row.paused_until is None or row.paused_until > now)


def _pause(
    connection: Connection, provider: str, *, reason: str, by: str, until: datetime | None, now: datetime
) -> None:
    row = slots.lock_state(connection, provider)
    if until is not None and _holds(row, now) and (row.paused_until is None or row.paused_until >= until):
        return  # A pause is never shortened by another one, and somebody's own least of all.
    told = row.paused_at is not None and row.paused_reason == reason
    values = {"paused_at": now, "paused_until": until, "paused_reason": reason, "paused_by": by}
    slots.write_state(connection, provider, values)
    if not told:
        data = {"provider": provider, "reason": reason}
        events.append(connection, [Event(EventType.PROVIDER_PAUSED, by, now, data=data)])


def _resume(connection: Connection, provider: str, *, by: str, now: datetime) -> None:
    slots.write_state(connection, provider, RUNNING)
    events.append(connection, [Event(EventType.PROVIDER_RESUMED, by, now, data={"provider": provider})])
