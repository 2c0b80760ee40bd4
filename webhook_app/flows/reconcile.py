"""Asking about silent jobs, and deciding what waiting alone cannot: dead workers, unconfirmed submits, deadlines."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from webhook_app.domain import schedule
from webhook_app.domain.errors import ErrorCode, JobError
from webhook_app.domain.events import Event, EventType
from webhook_app.domain.job import TERMINAL, OnUnconfirmed, Status
from webhook_app.domain.outcome import Unread, Witness
from webhook_app.flows import unconfirmed
from webhook_app.flows.apart import each_apart
from webhook_app.flows.apply import apply
from webhook_app.flows.ending import end
from webhook_app.flows.ledger import Report
from webhook_app.flows.policy import Policy
from webhook_app.flows.unconfirmed import hold_for_evidence
from webhook_app.provider.port import Provider
from webhook_app.store import attempts, events, jobs
from webhook_app.store.engine import Store

Find = Callable[[Connection], Sequence[str]]
Decide = Callable[[Connection, str], bool]

BATCH = 100
NO_ID = "the provider gave no id to ask about, and no callback came"


def poll_due(
    store: Store, providers: Mapping[str, Provider], *, limit: int, policy: Policy, clock: Callable[[], datetime]
) -> int:
    """Ask about attempts whose look is due, earliest first. Returns how many were asked about."""
    with store.writing() as connection:
        due = attempts.claim_polls(connection, limit=limit, hold=schedule.CLAIM_LEASE, now=clock())
    return each_apart(due, lambda row: _poll_one(store, providers[row.provider], row, policy, clock))


def _poll_one(store: Store, provider: Provider, row: Row[Any], policy: Policy, clock: Callable[[], datetime]) -> int:
    if row.provider_job_id is None:
        with store.writing() as connection:
            hold_for_evidence(connection, row.track_id, row.n, note=NO_ID, now=clock(), silent=True)
            attempts.stop_looking(connection, row.track_id, row.n)
        return 1
    answer = provider.fetch(row.model, row.provider_job_id, row.track_id)
    now = clock()
    with store.writing() as connection:
        if not isinstance(answer, Unread):
            report = Report(row.track_id, row.n, Witness.POLL, answer)
            apply(connection, [report], policy=policy, now=now)
        _schedule_next_look(connection, row, now, told=not isinstance(answer, Unread))
    return 1


def _schedule_next_look(connection: Connection, row: Row[Any], now: datetime, *, told: bool) -> None:
    job = jobs.lock(connection, [row.track_id]).get(row.track_id)
    attempt = attempts.get(connection, row.track_id, row.n)
    if job is None or attempt is None:
        return
    looked = {"polls": attempt.polls + 1, "polled_at": now}
    if attempt.poll_at is not None:
        looked["poll_at"] = _next_look(job, attempt, now, told=told)
    attempts.save(connection, [dict(attempt._mapping) | looked])


def _next_look(job: Row[Any], attempt: Row[Any], now: datetime, *, told: bool) -> datetime | None:
    if job.status not in TERMINAL:
        return now + schedule.next_poll_after(attempt.polls)
    if job.status not in {Status.TIMED_OUT, Status.FAILED}:
        return None
    age = now - attempt.sent_at
    late = schedule.late_look_after(age)
    if late is not None:
        at: datetime = attempt.sent_at + late
        return at
    # A fault of the call must not be the last word about a picture that was paid for.
    return None if told or age > schedule.LAST_LOOK_WITHIN else now + schedule.LAST_LOOK_AGAIN


def expire(store: Store, *, policy: Policy, now: datetime) -> int:
    """Everything that the clock decides. Returns how many jobs it concerned; may be run by any number of workers."""
    # On hold the clock stands still.
    on_hold_too = policy.on_unconfirmed is not OnUnconfirmed.HOLD
    decisions: list[tuple[Find, Decide]] = [
        (lambda c: jobs.abandoned(c, limit=BATCH, now=now), lambda c, t: _abandoned(c, t, now)),
        (
            lambda c: jobs.past_deadline(c, on_hold_too=on_hold_too, limit=BATCH, now=now),
            lambda c, t: _time_out(c, t, policy, now),
        ),
        (
            lambda c: unconfirmed.due(c, policy, limit=BATCH, now=now),
            lambda c, t: unconfirmed.decide(c, t, policy, now),
        ),
        (lambda c: jobs.overdue(c, limit=BATCH, now=now), lambda c, t: _overdue(c, t, now)),
    ]
    return each_apart(decisions, lambda pair: _decide_all(store, *pair))


def _decide_all(store: Store, find: Find, decide: Decide) -> int:
    with store.reading() as connection:
        track_ids = list(find(connection))

    def decide_one(track_id: str) -> int:
        with store.writing() as connection:
            return decide(connection, track_id)

    return each_apart(track_ids, decide_one)


def _abandoned(connection: Connection, track_id: str, now: datetime) -> bool:
    """The worker died after `sent_at`: the provider may have the request."""
    job = jobs.lock(connection, [track_id]).get(track_id)
    if job is None or job.status != Status.SUBMITTING or job.lease_until is None or job.lease_until >= now:
        return False
    return hold_for_evidence(connection, track_id, job.attempt, note="the worker died while it was sending", now=now)


def _time_out(connection: Connection, track_id: str, policy: Policy, now: datetime) -> bool:
    row = jobs.lock(connection, [track_id]).get(track_id)
    if row is None or row.status in TERMINAL or row.deadline_at is None or row.deadline_at > now:
        return False
    if row.unconfirmed_since is not None and policy.on_unconfirmed is OnUnconfirmed.HOLD:
        return False
    error = JobError(ErrorCode.NO_RESULT, "The provider did not finish in time.", retryable=True)
    end(connection, dict(row._mapping), Status.TIMED_OUT, error, by="worker", now=now)
    return True


def _overdue(connection: Connection, track_id: str, now: datetime) -> bool:
    row = jobs.lock(connection, [track_id]).get(track_id)
    if row is None or row.overdue_at is None or row.overdue_at > now:
        return False
    jobs.save(connection, [dict(row._mapping) | {"overdue_at": None}])
    told = Event(EventType.JOB_OVERDUE, "worker", now, track_id, row.client_id, row.batch_id)
    events.append(connection, [told])
    return True
