"""Pausing a provider for everyone: no room (429), or a refusal that concerns every job (key, credit). Costs no
attempt. After a refusal one job at a time is sent, as a probe, until the provider takes it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any

from sqlalchemy import Connection, Row

from webhook_app.domain import schedule
from webhook_app.domain.advance import PROVIDER_WIDE
from webhook_app.domain.events import Event, EventType
from webhook_app.domain.outcome import Later, NotSent, Refused, Witness
from webhook_app.flows.ledger import Report
from webhook_app.store import events, slots
from webhook_app.store.engine import Store

QUEUE_FULL, BY_HAND = "queue_full", "by_hand"
OURS = frozenset({"provider", "worker"})
REFUSALS = frozenset(code.value for code in PROVIDER_WIDE)
RUNNING: dict[str, Any] = {
    "paused_at": None,
    "paused_until": None,
    "paused_reason": None,
    "paused_by": None,
    "refusals": 0,
    "probe_track_id": None,
}


class Standing(Enum):
    """Whether jobs may be sent to a provider now; `PROBING`: one."""

    RUNNING = auto()
    PROBING = auto()
    PAUSED = auto()


def standing(connection: Connection, provider: str, *, now: datetime) -> Standing:
    """How the provider stands. A pause for want of room ends here when its time is over, in the caller's transaction;
    one for a refusal ends when a probe was taken."""
    row = slots.state(connection, provider)
    if row is None or row.paused_at is None:
        return Standing.RUNNING
    if _holds(row, now):
        return Standing.PAUSED
    # Looked at again under its lock: another worker may have ended the pause, or the provider begun a new one.
    row = slots.lock_state(connection, provider)
    if _holds(row, now):
        return Standing.PAUSED
    if row.paused_reason in REFUSALS:
        return Standing.PROBING
    if row.paused_at is not None:
        _resume(connection, provider, by="worker", now=now)
    return Standing.RUNNING


def probe(connection: Connection, provider: str, track_id: str, *, now: datetime) -> None:
    """This job is the probe; until its answer, or until that must have been lost, the others wait."""
    out = {"probe_track_id": track_id, "paused_until": now + schedule.PROBE_PATIENCE}
    slots.write_state(connection, provider, out)


def learn_from(
    connection: Connection, reports: Sequence[tuple[dict[str, Any] | None, Report]], *, now: datetime
) -> None:
    """Pause or resume where the answers to submits of known jobs say so; in the transaction of `apply`."""
    for job, report in reports:
        if job is not None and report.witness is Witness.SUBMIT:
            _learn(connection, job["provider"], report, now)


def _learn(connection: Connection, provider: str, report: Report, now: datetime) -> None:
    match report.outcome:
        case Later(retry_after_s=retry_after_s):
            span = schedule.PAUSE_DEFAULT
            if retry_after_s is not None:
                span = timedelta(seconds=min(max(retry_after_s, 1.0), 3600.0))
            _end_probe(connection, provider, report.track_id, now)
            _pause(connection, provider, reason=QUEUE_FULL, by="provider", until=now + span, now=now)
        case Refused(code=code) if code in PROVIDER_WIDE:
            _refuse(connection, provider, report.track_id, reason=code.value, now=now)
        case NotSent():
            if _is_probe(connection, provider, report.track_id):
                again = {"probe_track_id": None, "paused_until": now + schedule.PAUSE_DEFAULT}
                slots.write_state(connection, provider, again)
        case _:
            _end_probe(connection, provider, report.track_id, now)


def _is_probe(connection: Connection, provider: str, track_id: str) -> bool:
    """Looked at without a lock first: most answers are no probe's."""
    row = slots.state(connection, provider)
    if row is None or row.probe_track_id != track_id:
        return False
    return bool(slots.lock_state(connection, provider).probe_track_id == track_id)


def _end_probe(connection: Connection, provider: str, track_id: str, now: datetime) -> None:
    """The provider did not refuse it: it takes jobs again."""
    if _is_probe(connection, provider, track_id):
        _resume(connection, provider, by="worker", now=now)


def _refuse(connection: Connection, provider: str, track_id: str, *, reason: str, now: datetime) -> None:
    """The provider refuses every job. What was in flight when it began to is told the same, and changes nothing."""
    row = slots.lock_state(connection, provider)
    if _holds(row, now) and row.paused_reason == reason and row.probe_track_id != track_id:
        return
    until = now + schedule.refused_pause(row.refusals)
    if row.probe_track_id == track_id:
        slots.write_state(connection, provider, {"paused_until": now})
    _pause(connection, provider, reason=reason, by="provider", until=until, now=now, refusals=row.refusals + 1)


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


def _holds(row: Row[Any], now: datetime) -> bool:
    return row.paused_at is not None and (row.paused_until is None or row.paused_until > now)


def _pause(
    connection: Connection,
    provider: str,
    *,
    reason: str,
    by: str,
    until: datetime | None,
    now: datetime,
    refusals: int = 0,
) -> None:
    row = slots.lock_state(connection, provider)
    endless = _holds(row, now) and row.paused_until is None
    if until is not None and _holds(row, now) and (endless or row.paused_until >= until):
        return  # A pause is never shortened by another one, and somebody's own least of all.
    if endless and by in OURS and row.paused_by not in OURS:
        return  # Nor taken over: what ends ours would end it.
    told = row.paused_at is not None and row.paused_reason == reason
    values = {"paused_at": now, "paused_until": until, "paused_reason": reason, "paused_by": by}
    slots.write_state(connection, provider, values | {"refusals": refusals, "probe_track_id": None})
    if not told:
        # The log holds no words of people.
        data = {"provider": provider, "reason": reason if by in OURS else BY_HAND}
        events.append(connection, [Event(EventType.PROVIDER_PAUSED, by, now, data=data)])


def _resume(connection: Connection, provider: str, *, by: str, now: datetime) -> None:
    slots.write_state(connection, provider, RUNNING)
    events.append(connection, [Event(EventType.PROVIDER_RESUMED, by, now, data={"provider": provider})])
