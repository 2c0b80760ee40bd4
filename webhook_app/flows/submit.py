"""Sending jobs to the provider: claim, then the attempt's row, then the socket (design.md, decision 3)."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row

from webhook_app.domain import schedule
from webhook_app.domain.durations import seconds_between
from webhook_app.domain.errors import DatabaseUnavailable
from webhook_app.domain.events import Event, EventType
from webhook_app.domain.job import RESENDABLE, Evidence, Status
from webhook_app.domain.outcome import NotSent, Running, SubmitAnswer, Unconfirmed, Witness
from webhook_app.flows import pausing
from webhook_app.flows.apply import apply
from webhook_app.flows.ledger import Report
from webhook_app.flows.pausing import Standing
from webhook_app.flows.policy import Policy
from webhook_app.flows.unconfirmed import hold_for_evidence
from webhook_app.provider.port import Provider, Submission
from webhook_app.store import attempts, events, jobs, slots
from webhook_app.store.engine import Store

INSIST_FOR_S, INSIST_FIRST_S, INSIST_MOST_S = 600.0, 0.5, 10.0


@dataclass(frozen=True, slots=True)
class Claim:
    """A leased job, still queued. `fence` tells this lease from every other one."""

    track_id: str
    model: str
    input: dict[str, Any]
    fence: int


@dataclass(frozen=True, slots=True)
class Sending:
    """A committed attempt, about to be sent. `sends` tells this sending of it from an earlier or a later one."""

    claim: Claim
    attempt: int
    sends: int
    started: float


def claim(store: Store, *, provider: str, owner: str, limit: int, policy: Policy, now: datetime) -> list[Claim]:
    """Lease as many due jobs as there are free slots, at most `limit`; none while the provider is paused, and one where
    it has to be seen whether it takes jobs again."""
    with store.writing() as connection:
        standing = pausing.standing(connection, provider, now=now)
        if standing is Standing.PAUSED:
            return []
        if slots.count(connection, provider) != policy.max_in_flight:
            slots.ensure(connection, provider, policy.max_in_flight)
        limit = 1 if standing is Standing.PROBING else limit
        free = slots.free(connection, provider, wanted=policy.max_in_flight, limit=limit, now=now)
        if not free:
            return []
        rows = jobs.claim(
            connection, provider=provider, owner=owner, limit=len(free), lease=schedule.CLAIM_LEASE, now=now
        )
        for n, row in zip(free, rows, strict=False):
            slots.take(connection, provider, n, track_id=row.track_id, free_at=now + schedule.CLAIM_LEASE)
        if standing is Standing.PROBING and rows:
            pausing.probe(connection, provider, rows[0].track_id, now=now)
        return [Claim(row.track_id, row.model, row.input, row.fence) for row in rows]


def send(
    store: Store,
    provider: Provider,
    claim: Claim,
    *,
    owner: str,
    callback_url: Callable[[str, int], str | None],
    policy: Policy,
    clock: Callable[[], datetime],
) -> None:
    """Submit one claimed job and record the answer. Does nothing when the lease is gone. May take as long as the
    provider."""
    try:
        sending = _begin(store, claim, owner, clock())
    except DatabaseUnavailable:
        _insist(store, lambda connection: _take_back(connection, claim, policy, clock()))
        return
    if sending is None:
        return
    answer = _submit(provider, sending, callback_url(claim.track_id, sending.attempt))
    _record(store, sending, answer, policy, clock)


def renew(store: Store, *, owner: str, now: datetime) -> int:
    """Keep the leases of what this worker is sending; every 10 s. Returns how many there are. A sender that has died in
    a living worker is given up as well, once its submit must be over."""
    sent_after = now - 2 * schedule.SUBMIT_TIMEOUT
    with store.writing() as connection:
        return jobs.renew(connection, owner=owner, until=now + schedule.CLAIM_LEASE, sent_after=sent_after, now=now)


def give_back(store: Store, *, owner: str, now: datetime) -> int:
    """Hand unsent jobs and their slots to the other workers, when this one stops."""
    with store.writing() as connection:
        returned = jobs.give_back(connection, owner=owner)
        slots.release(connection, returned)
        if returned:
            events.notify(connection, returned)
        return len(returned)


def _begin(store: Store, claim: Claim, owner: str, now: datetime) -> Sending | None:
    """Commit `submitting` and the attempt right before the socket, if enough of the lease is left."""
    with store.writing() as connection:
        row = jobs.begin_sending(
            connection, claim.track_id, owner=owner, fence=claim.fence, lease_beyond=now + schedule.LEASE_MARGIN
        )
        if row is None:
            return None
        attempt, sends = _next_attempt(connection, row, owner, now)
        job = dict(row._mapping)
        deadline = job["deadline_at"] or now + timedelta(seconds=job["timeout_s"])
        job |= {"status": Status.SUBMITTING.value, "attempt": attempt, "spent": job["spent"] + 1, "waiting_for": None}
        job |= {"submitted_at": job["submitted_at"] or now, "deadline_at": deadline, "overdue_at": None, "due_at": None}
        jobs.save(connection, [job])
        slots.hold(connection, claim.track_id, free_at=now + schedule.SLOT_HELD, now=now)
        told = Event(EventType.JOB_SUBMITTED, "worker", now, row.track_id, row.client_id, row.batch_id)
        told.data["attempt"] = attempt
        if attempt == sends == 1:
            told.data["queue_s"] = seconds_between(row.created_at, now)
        events.append(connection, [told])
    return Sending(claim, attempt, sends, time.monotonic())


def _next_attempt(connection: Connection, job: Row[Any], owner: str, now: datetime) -> tuple[int, int]:
    last = attempts.get(connection, job.track_id, job.attempt) if job.attempt else None
    if last is not None and Evidence(last.evidence) in RESENDABLE:
        attempts.send_again(connection, track_id=job.track_id, n=last.n, worker=owner, now=now)
        return last.n, last.sends + 1
    n, repeats = job.attempt + 1, last is not None and last.unconfirmed_at is not None
    attempts.add(connection, track_id=job.track_id, n=n, worker=owner, repeats_unconfirmed=repeats, now=now)
    return n, 1


def _submit(provider: Provider, sending: Sending, callback_url: str | None) -> SubmitAnswer:
    if time.monotonic() - sending.started > schedule.LEASE_MARGIN.total_seconds():
        # We were stopped between the commit and the socket; somebody may think that we are dead.
        return NotSent("the worker was paused before it could send")
    claim = sending.claim
    return provider.submit(Submission(claim.track_id, claim.model, claim.input, callback_url))


def _insist(store: Store, act: Callable[[Connection], None]) -> None:
    """One transaction, tried again while the database is away, for ten minutes: this thread has nothing better to do,
    and what is lost here may be paid for twice. It may be committed twice."""
    until, pause_s = time.monotonic() + INSIST_FOR_S, INSIST_FIRST_S
    while True:
        try:
            with store.writing() as connection:
                act(connection)
            return
        except DatabaseUnavailable:
            if time.monotonic() > until:
                raise
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, INSIST_MOST_S)


def _record(
    store: Store, sending: Sending, answer: SubmitAnswer, policy: Policy, clock: Callable[[], datetime]
) -> None:
    """The answer is evidence, and must not be lost to a passing fault of the database."""
    _insist(store, lambda connection: _write_answer(connection, sending, answer, policy, clock()))


def _take_back(connection: Connection, claim: Claim, policy: Policy, now: datetime) -> None:
    """We did not learn whether `submitting` was committed, and so did not send: if it was, nobody else knows that."""
    job = jobs.lock(connection, [claim.track_id]).get(claim.track_id)
    # By its fence: somebody may have taken us for dead, and the job's lease from us.
    if job is not None and job.fence == claim.fence and job.status == Status.SUBMITTING:
        answer = NotSent("the commit before the sending was not confirmed")
        apply(connection, [Report(claim.track_id, job.attempt, Witness.SUBMIT, answer)], policy=policy, now=now)


def _write_answer(
    connection: Connection, sending: Sending, answer: SubmitAnswer, policy: Policy, now: datetime
) -> None:
    track_id = sending.claim.track_id
    jobs.lock(connection, [track_id])
    attempt = attempts.get(connection, track_id, sending.attempt)
    if attempt is None or attempt.sends != sending.sends:
        return  # On record already, by a commit whose fate we did not learn; the attempt has gone out again since.
    if isinstance(answer, Unconfirmed):
        hold_for_evidence(connection, track_id, sending.attempt, note=answer.reason, now=now)
        return
    apply(connection, [Report(track_id, sending.attempt, Witness.SUBMIT, answer)], policy=policy, now=now)
    if isinstance(answer, Running):
        slots.hold(connection, track_id, free_at=now + schedule.slot_held_for(answer.eta_s), now=now)
