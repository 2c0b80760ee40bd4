"""The one door for what a provider says, whoever heard it: lock the jobs, decide each, write with one statement a
table.

It is total and idempotent, and works on a batch. The caller owns the transaction.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from webhook_app.domain.advance import AttemptState, JobState, Move, Verdict, advance, evidence_of
from webhook_app.domain.errors import ErrorCode, JobError
from webhook_app.domain.estimates import Estimate
from webhook_app.domain.events import Event
from webhook_app.domain.job import STRENGTH, Evidence, Status
from webhook_app.domain.outcome import NotSent, Outcome, Witness
from webhook_app.flows import consequences, pausing
from webhook_app.flows.ledger import Ledger, Report
from webhook_app.flows.policy import Policy
from webhook_app.store.jobs import Home

# Given a report's place in the batch, its verdict and whose job it is about (None: nobody's): the event that tells of
# it, None for none.
Announce = Callable[[int, Verdict, Home | None], Event | None]
# The provider has nothing of such an attempt in hand any more.
ENDED = frozenset(Evidence) - {Evidence.NONE, Evidence.RUNNING}


def apply(connection: Connection, reports: Sequence[Report], *, policy: Policy, now: datetime) -> list[Verdict]:
    """Apply reports in the caller's transaction; one verdict for each, in order. May be repeated with the same
    reports."""
    ledger = Ledger(connection, reports)
    verdicts = decide_all(ledger, reports, policy=policy, now=now)
    ledger.write(connection, now=now)
    pausing.learn_from(connection, [(ledger.jobs.get(report.track_id), report) for report in reports], now=now)
    return verdicts


def decide_all(
    ledger: Ledger,
    reports: Sequence[Report],
    *,
    policy: Policy,
    now: datetime,
    announce: Announce = lambda place, verdict, home: None,
) -> list[Verdict]:
    """Change the ledger's rows as the reports say, and write nothing yet; one verdict for each, in order. What
    `announce` makes of a report stands in the log before what follows from it."""
    verdicts = []
    for place, report in enumerate(reports):
        before = len(ledger.events)
        verdict = _apply_one(ledger, report, policy, now)
        job = ledger.jobs.get(report.track_id)
        told = announce(place, verdict, Home(job["client_id"], job["batch_id"]) if job else None)
        ledger.events[before:before] = [told] if told else []
        verdicts.append(verdict)
    return verdicts


def _apply_one(ledger: Ledger, report: Report, policy: Policy, now: datetime) -> Verdict:
    job = ledger.jobs.get(report.track_id)
    attempt = ledger.attempts.get((report.track_id, report.attempt))
    if job is not None and job["erased_at"] is not None:
        _learn_of_erased(ledger, attempt, report)
        return Verdict.ERASED
    if job is None or attempt is None:
        return Verdict.ORPHANED
    move = decide(job, attempt, report.outcome, policy)
    _record_evidence(ledger, attempt, report, move, expected=policy.expect(job), now=now)
    if move.verdict is Verdict.CANCELED:
        if attempt["n"] == job["attempt"] and attempt["evidence"] in ENDED:
            ledger.released.add(report.track_id)
        return move.verdict
    changed = consequences.of_move(ledger, job, attempt, report, move, policy=policy, now=now)
    if changed:
        ledger.changed_jobs.add(report.track_id)
    return Verdict.APPLIED if changed and move.verdict is Verdict.REPEATED else move.verdict


def _learn_of_erased(ledger: Ledger, attempt: dict[str, Any] | None, report: Report) -> None:
    """The one thing that is still wanted to be known, until the provider has been asked to delete its copy: by which
    id, and whether it is done with the job."""
    known = ledger.erasing.get(report.track_id)
    if attempt is None or known is None or attempt["n"] in known:
        return
    before = dict(attempt)
    evidence, _ = evidence_of(report.outcome)
    if STRENGTH[evidence] > STRENGTH[Evidence(attempt["evidence"])]:
        attempt["evidence"] = evidence.value
    if attempt["provider_job_id"] is None:
        attempt["provider_job_id"] = getattr(report.outcome, "provider_job_id", None)
    if attempt != before:
        ledger.changed_attempts.add((report.track_id, report.attempt))


def decide(job: dict[str, Any], attempt: dict[str, Any], outcome: Outcome | NotSent, policy: Policy) -> Move:
    """The domain's decision for these rows."""
    state = JobState(Status(job["status"]), job["attempt"], job["spent"], policy.attempts_allowed)
    known = AttemptState(attempt["n"], Evidence(attempt["evidence"]), error_from(attempt["error"]))
    return advance(state, known, outcome)


def error_from(stored: dict[str, Any] | None) -> JobError | None:
    """A stored error as a value."""
    if stored is None:
        return None
    return JobError(ErrorCode(stored["code"]), stored["message"], stored["retryable"], stored["provider_message"])


def _record_evidence(
    ledger: Ledger, attempt: dict[str, Any], report: Report, move: Move, *, expected: Estimate | None, now: datetime
) -> None:
    before = dict(attempt)
    if move.evidence != attempt["evidence"]:
        attempt |= {"evidence": move.evidence.value, "evidence_at": now, "unconfirmed_at": None, "poll_at": None}
    attempt["error"] = move.attempt_error.as_json() if move.attempt_error else None
    if report.witness is Witness.SUBMIT and attempt["answered_at"] is None:
        attempt["answered_at"] = now
    consequences.learn_id_and_eta(attempt, report.outcome, expected=expected, now=now)
    if attempt != before:
        ledger.changed_attempts.add((attempt["track_id"], attempt["n"]))
