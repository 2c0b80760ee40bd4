"""Submits of which nobody knows whether the provider took them: they wait for evidence, then somebody or something
decides (design.md, decision 3). A repeat may cost twice, and is counted and capped; it never changes the result."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row

from webhook_app.domain import schedule
from webhook_app.domain.errors import ErrorCode, JobAlreadyEnded, JobError, NotFound, NotOnHold
from webhook_app.domain.events import Event, EventType
from webhook_app.domain.job import TERMINAL, Decision, OnUnconfirmed, Status, WaitingFor
from webhook_app.flows.ending import end
from webhook_app.flows.policy import Policy
from webhook_app.store import attempts, events, jobs, reads, slots
from webhook_app.store.engine import Store

HOUR = timedelta(hours=1)
LONGEST_NOTE = 500


def hold_for_evidence(
    connection: Connection, track_id: str, n: int, *, note: str, now: datetime, silent: bool = False
) -> bool:
    """Nobody knows whether the provider took this attempt, or, where it was `silent` for too long, what became of it:
    let the job wait for evidence. False when some has come already, or when the job waits already: the clock does not
    begin anew."""
    job = jobs.lock(connection, [track_id]).get(track_id)
    attempt = attempts.get(connection, track_id, n)
    if job is None or attempt is None or job.attempt != n or job.unconfirmed_since is not None:
        return False
    if job.status != Status.SUBMITTING and not (silent and _cannot_be_asked_about(job, attempt)):
        return False
    waiting = {"lease_owner": None, "lease_until": None, "unconfirmed_since": now}
    jobs.save(connection, [dict(job._mapping) | waiting | {"waiting_for": WaitingFor.CONFIRMATION.value}])
    attempts.save(connection, [dict(attempt._mapping) | {"unconfirmed_at": now, "note": note[:LONGEST_NOTE]}])
    told = Event(EventType.SUBMIT_UNCONFIRMED, "worker", now, track_id, job.client_id, job.batch_id)
    told.data["attempt"] = n
    events.append(connection, [told])
    return True


def _cannot_be_asked_about(job: Row[Any], attempt: Row[Any]) -> bool:
    """Accepted, but without an id there is nothing to ask about."""
    return job.status == Status.PROCESSING and attempt.provider_job_id is None


def wait_for_evidence(connection: Connection, policy: Policy, now: datetime) -> timedelta:
    """How long a submit waits: what this installation's rules say, and what the provider needs at present."""
    largest = attempts.largest_eta(connection, since=now - HOUR)
    usual = reads.generation_percentile(connection, percent=95, since=now - HOUR, now=now)
    return schedule.confirm_wait(policy.confirm_after, largest_eta_s=largest, usual_s=usual)


def due(connection: Connection, policy: Policy, *, limit: int, now: datetime) -> list[str]:
    """The jobs whose wait is over and for which nobody has decided, the oldest first. None on hold; those that would be
    repeated only while the hour's cap has room."""
    before = now - policy.confirm_after
    if policy.on_unconfirmed is OnUnconfirmed.HOLD or not jobs.unconfirmed_before(connection, before=before, limit=1):
        return []
    before = now - wait_for_evidence(connection, policy, now)
    repeating = policy.on_unconfirmed is OnUnconfirmed.REPEAT
    full = repeating and room(connection, policy, now) <= 0
    least_spent = policy.attempts_allowed if full else 0
    return list(jobs.unconfirmed_before(connection, before=before, limit=limit, least_spent=least_spent))


def decide(connection: Connection, track_id: str, policy: Policy, now: datetime) -> bool:
    """Repeat or give up a job that `due` found; False when evidence or somebody else came first."""
    row = jobs.lock(connection, [track_id]).get(track_id)
    if row is None or row.unconfirmed_since is None or row.status in TERMINAL:
        return False
    if row.unconfirmed_since > now - policy.confirm_after or policy.on_unconfirmed is OnUnconfirmed.HOLD:
        return False
    if policy.on_unconfirmed is OnUnconfirmed.FAIL or row.spent >= policy.attempts_allowed:
        _give_up(connection, dict(row._mapping), by="worker", now=now)
        return True
    slots.lock_state(connection, row.provider)  # Two who decide at once must not both take the last of the cap.
    if room(connection, policy, now) <= 0:
        return False
    _repeat(connection, dict(row._mapping), by="worker", now=now)
    return True


def room(connection: Connection, policy: Policy, now: datetime) -> int:
    """How many more repeats this hour allows: those sent, and those decided but not yet sent, count."""
    # In this order: one that is sent meanwhile is counted twice, and not never.
    to_come = attempts.repeats_to_come(connection)
    return policy.repeats_per_hour - to_come - attempts.repeats_since(connection, now - HOUR)


def _repeat(connection: Connection, job: dict[str, Any], *, by: str, now: datetime) -> None:
    again = {"status": Status.QUEUED.value, "waiting_for": WaitingFor.PROVIDER_SLOT.value, "due_at": now}
    jobs.save(connection, [job | again | {"unconfirmed_since": None}])
    slots.release(connection, [job["track_id"]])
    told = Event(EventType.SUBMIT_RETRIED, by, now, job["track_id"], job["client_id"], job["batch_id"])
    told.data.update(attempt=job["attempt"], evidence="unconfirmed")
    events.append(connection, [told])


def _give_up(connection: Connection, job: dict[str, Any], *, by: str, now: datetime) -> None:
    error = JobError(ErrorCode.SUBMIT_UNCONFIRMED, "Nothing confirmed that the provider took the request.")
    end(connection, job, Status.FAILED, error, by=by, now=now)


def resolve(store: Store, track_id: str, *, decision: Decision, by: str, now: datetime) -> None:
    """Somebody decides for a job that waits for confirmation, whatever `ON_UNCONFIRMED`, the attempts and the cap say.
    Raises `NotFound`, `JobAlreadyEnded` and `NotOnHold` (it waits for something else)."""
    with store.writing() as connection:
        row = jobs.lock(connection, [track_id]).get(track_id)
        if row is None:
            raise NotFound("There is no such job.")
        if row.status in TERMINAL:
            raise JobAlreadyEnded(f"The job has ended: {row.status}.")
        if row.unconfirmed_since is None:
            raise NotOnHold("The job does not wait for confirmation.")
        job = dict(row._mapping)
        if decision is Decision.FAIL:
            _give_up(connection, job, by=by, now=now)
            return
        if row.deadline_at is not None:
            # While somebody thought about it, the clock stood still.
            job["deadline_at"] = row.deadline_at + (now - row.unconfirmed_since)
        _repeat(connection, job, by=by, now=now)
