"""What an outcome means for a job: one pure, total, order-free function (design.md, decision 1).

For a given set of attempts and of acts of ours, status and error depend on the set of outcomes alone, whatever their
order and number: an attempt keeps its strongest evidence, and ties between errors are broken by the error itself.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from webhook_app.domain.errors import ErrorCode, JobError
from webhook_app.domain.job import RESENDABLE, STRENGTH, TERMINAL, Evidence, Status
from webhook_app.domain.outcome import Failed, Finished, Later, NotSent, Outcome, Refused, Running

PROVIDER_WIDE = frozenset({ErrorCode.PROVIDER_AUTH, ErrorCode.PROVIDER_QUOTA})


class Verdict(StrEnum):
    """What became of a report."""

    APPLIED = "applied"
    REPEATED = "repeated"
    OVERTAKEN = "overtaken"
    LATE = "late"
    CANCELED = "canceled"
    UNREADABLE = "unreadable"
    MISMATCHED = "mismatched"
    ORPHANED = "orphaned"
    ERASED = "erased"


@dataclass(frozen=True, slots=True)
class JobState:
    """The part of a job that decides. `attempt` is the newest attempt's number, `spent` how many count against the
    limit."""

    status: Status
    attempt: int
    spent: int
    attempts_allowed: int


@dataclass(frozen=True, slots=True)
class AttemptState:
    n: int
    evidence: Evidence
    error: JobError | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """The consequence. `to` None leaves the status; `error` is the job's error from now on (None: unchanged, or cleared
    by a success); `evidence` and `attempt_error` are the attempt's. `spent_change` corrects the job's `spent`: an
    attempt with which the provider did nothing does not count."""

    verdict: Verdict
    evidence: Evidence
    attempt_error: JobError | None = None
    to: Status | None = None
    error: JobError | None = None
    spent_change: int = 0


def evidence_of(outcome: Outcome | NotSent) -> tuple[Evidence, JobError | None]:
    """How strong an outcome is, and the error that it carries."""
    match outcome:
        case NotSent():
            return Evidence.NOT_SENT, None
        case Later():
            return Evidence.DECLINED, None
        case Running():
            return Evidence.RUNNING, None
        case Finished():
            return Evidence.SUCCESS, None
        case Failed(message=message, retryable=retryable, code=code):
            error = JobError(code, "The provider could not make the picture.", retryable, message or None)
            return (Evidence.RETRYABLE if retryable else Evidence.PERMANENT), error
        case Refused(message=message, code=code):
            if code in PROVIDER_WIDE:
                # It concerns every job: the provider is paused, and this job keeps its turn.
                return Evidence.DECLINED, None
            return Evidence.PERMANENT, JobError(code, "The provider refused the request.", False, message or None)
        case _:
            assert_never(outcome)


def advance(job: JobState, attempt: AttemptState, outcome: Outcome | NotSent) -> Move:
    """Decide. Every pair of state and outcome has an answer, and the same report again changes nothing."""
    seen, error = evidence_of(outcome)
    evidence, attempt_error = _strongest(attempt, seen, error)
    if job.status is Status.CANCELED:
        return Move(Verdict.CANCELED, evidence, attempt_error)
    if evidence is attempt.evidence and attempt_error == attempt.error:
        return Move(Verdict.REPEATED, evidence, attempt_error)
    if evidence is Evidence.SUCCESS:
        if job.status is Status.SUCCEEDED:
            return Move(Verdict.LATE, evidence, attempt_error)
        change = _spent_change(job, attempt, evidence)
        return Move(Verdict.APPLIED, evidence, attempt_error, Status.SUCCEEDED, None, change)
    if attempt.n < job.attempt:
        return Move(Verdict.OVERTAKEN, evidence, attempt_error)
    change = _spent_change(job, attempt, evidence)
    counted = replace(job, spent=job.spent + change)
    return replace(_of_the_newest_attempt(counted, evidence, attempt_error), spent_change=change)


def _spent_change(job: JobState, attempt: AttemptState, evidence: Evidence) -> int:
    """Whether this report makes the newest attempt count, or stop to count. Of an older one that was settled when the
    next one went out, and of a finished job nothing depends on it any more."""
    if attempt.n < job.attempt or job.status in TERMINAL:
        return 0
    change = (attempt.evidence in RESENDABLE) - (evidence in RESENDABLE)
    return max(change, -job.spent)


def _strongest(attempt: AttemptState, seen: Evidence, error: JobError | None) -> tuple[Evidence, JobError | None]:
    if STRENGTH[seen] > STRENGTH[attempt.evidence]:
        return seen, error
    if seen is attempt.evidence and error is not None and attempt.error is not None:
        return seen, min(error, attempt.error, key=_error_order)
    return attempt.evidence, attempt.error


def _error_order(error: JobError) -> tuple[str, str]:
    return error.code.value, error.provider_message or ""


def _of_the_newest_attempt(job: JobState, evidence: Evidence, error: JobError | None) -> Move:
    if job.status is Status.FAILED:
        # Still failed, but the stronger report (or the tie-break) names the cause, as it would have done coming first.
        return Move(Verdict.APPLIED, evidence, error, error=_final_error(job, evidence, error))
    if job.status in TERMINAL:
        return Move(Verdict.LATE, evidence, error)
    match evidence:
        case Evidence.PERMANENT:
            return Move(Verdict.APPLIED, evidence, error, to=Status.FAILED, error=error)
        case Evidence.RETRYABLE if job.spent >= job.attempts_allowed:
            final = _final_error(job, evidence, error)
            return Move(Verdict.APPLIED, evidence, error, to=Status.FAILED, error=final)
        case Evidence.RETRYABLE | Evidence.NOT_SENT | Evidence.DECLINED:
            to = None if job.status is Status.QUEUED else Status.QUEUED
            return Move(Verdict.APPLIED, evidence, error, to=to)
        case _:
            to = None if job.status is Status.PROCESSING else Status.PROCESSING
            return Move(Verdict.APPLIED, evidence, error, to=to)


def _final_error(job: JobState, evidence: Evidence, error: JobError | None) -> JobError | None:
    if evidence is Evidence.RETRYABLE and error is not None and job.spent >= job.attempts_allowed:
        message = f"The provider failed {job.spent} of {job.attempts_allowed} attempts."
        return error.with_code(ErrorCode.ATTEMPTS_EXHAUSTED, message)
    return error
