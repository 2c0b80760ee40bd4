"""The decision, exhaustively: every pair of states and outcome, and the freedom from order."""

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook_app.domain.advance import AttemptState, JobState, Move, Verdict, advance, evidence_of
from webhook_app.domain.errors import ErrorCode, JobError
from webhook_app.domain.job import MAY_ENTER, RESENDABLE, STRENGTH, TERMINAL, Evidence, Status
from webhook_app.domain.outcome import Failed, Finished, Later, NotSent, Outcome, Picture, Refused, Running

OUTCOMES: list[Outcome | NotSent] = [
    NotSent("refused"),
    Later("Rate limit exceeded", 5.0),
    Running("7", 3.0),
    Running(),
    Finished((Picture(0, ("https://known.example/0.png",)),), "7"),
    Failed("Try Again", retryable=True),
    Failed("Server error", retryable=True),
    Failed("bad model", retryable=False),
    Failed("", retryable=False, code=ErrorCode.INTERNAL),
    Refused("no such field", ErrorCode.INVALID_INPUT),
    Refused("no"),
    Refused("Invalid API Key", ErrorCode.PROVIDER_AUTH),
    Refused("out of credit", ErrorCode.PROVIDER_QUOTA),
]
ERROR = JobError(ErrorCode.GENERATION_FAILED, "The provider could not make the picture.", True, "an earlier word")
PAIRS = [
    (JobState(status, newest, spent, 3), AttemptState(1, evidence, ERROR if STRENGTH[evidence] in (4, 5) else None))
    for status, evidence, newest, spent in product(Status, Evidence, (1, 2), (0, 1, 2, 3))
]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=repr)
def test_every_state_has_an_answer_that_keeps_the_graph(outcome: Outcome | NotSent) -> None:
    for job, attempt in PAIRS:
        move = advance(job, attempt, outcome)
        assert STRENGTH[move.evidence] >= STRENGTH[attempt.evidence]
        assert job.spent + move.spent_change >= 0
        if move.to is not None:
            assert job.status in MAY_ENTER[move.to], (job, attempt, move)
        if job.status in {Status.SUCCEEDED, Status.CANCELED}:
            assert (move.to, move.error) == (None, None)
        if job.status in {Status.FAILED, Status.TIMED_OUT}:
            assert move.to in {None, Status.SUCCEEDED}


@pytest.mark.parametrize("outcome", OUTCOMES, ids=repr)
def test_the_same_report_again_changes_nothing(outcome: Outcome | NotSent) -> None:
    for job, attempt in PAIRS:
        first = advance(job, attempt, outcome)
        after = replace(job, status=first.to or job.status, spent=job.spent + first.spent_change)
        again = advance(after, AttemptState(1, first.evidence, first.attempt_error), outcome)
        assert again.verdict in {Verdict.REPEATED, Verdict.CANCELED}
        assert (again.to, again.error, again.spent_change) == (None, None, 0)
        assert (again.evidence, again.attempt_error) == (first.evidence, first.attempt_error)


@pytest.mark.parametrize("outcome", OUTCOMES, ids=repr)
def test_a_canceled_job_only_takes_note(outcome: Outcome | NotSent) -> None:
    for job, attempt in PAIRS:
        if job.status is Status.CANCELED:
            move = advance(job, attempt, outcome)
            assert (move.verdict, move.to, move.error) == (Verdict.CANCELED, None, None)


ONE = AttemptState(1, Evidence.NONE)


@pytest.mark.parametrize(
    ("outcome", "to", "code"),
    [
        (NotSent("dns"), Status.QUEUED, None),
        (Later("full"), Status.QUEUED, None),
        (Refused("key", ErrorCode.PROVIDER_AUTH), Status.QUEUED, None),
        (Running("7"), Status.PROCESSING, None),
        (OUTCOMES[4], Status.SUCCEEDED, None),
        (Failed("Try Again", retryable=True), Status.QUEUED, None),
        (Failed("no", retryable=False), Status.FAILED, ErrorCode.GENERATION_FAILED),
        (Refused("no", ErrorCode.INVALID_INPUT), Status.FAILED, ErrorCode.INVALID_INPUT),
    ],
)
def test_what_a_submit_s_answer_leads_to(outcome: Any, to: Status, code: ErrorCode | None) -> None:
    move = advance(JobState(Status.SUBMITTING, 1, 1, 3), ONE, outcome)
    assert move.to is to
    assert (move.error.code if move.error else None) is code


def test_the_last_retryable_failure_ends_the_job() -> None:
    move = advance(JobState(Status.PROCESSING, 3, 3, 3), AttemptState(3, Evidence.RUNNING), Failed("Try Again", True))
    assert move.to is Status.FAILED
    assert move.error is not None
    assert (move.error.code, move.error.provider_message) == (ErrorCode.ATTEMPTS_EXHAUSTED, "Try Again")


def test_a_late_failure_of_an_older_attempt_is_overtaken() -> None:
    move = advance(JobState(Status.PROCESSING, 2, 2, 3), ONE, Failed("no", retryable=False))
    assert (move.verdict, move.to, move.error) == (Verdict.OVERTAKEN, None, None)


def test_a_late_success_of_an_older_attempt_ends_the_job_well() -> None:
    for status in (Status.QUEUED, Status.SUBMITTING, Status.PROCESSING, Status.FAILED, Status.TIMED_OUT):
        assert advance(JobState(status, 2, 2, 3), ONE, OUTCOMES[4]).to is Status.SUCCEEDED


def test_an_attempt_that_did_run_after_all_counts_again() -> None:
    declined = advance(JobState(Status.SUBMITTING, 1, 1, 1), ONE, Later("full"))
    assert (declined.to, declined.spent_change) == (Status.QUEUED, -1)
    failed = advance(JobState(Status.QUEUED, 1, 0, 1), AttemptState(1, Evidence.DECLINED), Failed("Try Again", True))
    assert (failed.to, failed.spent_change) == (Status.FAILED, 1)


# Order-freedom: the rows of a job as a small machine over `advance`, with acts of ours in between.


def _apply(job: JobState, error: JobError | None, move: Move) -> tuple[JobState, JobError | None]:
    if move.to is not None or move.error is not None:
        error = move.error
    return replace(job, status=move.to or job.status, spent=job.spent + move.spent_change), error


def _run(reports: list[tuple[int, Outcome | NotSent]], job: JobState) -> tuple[Any, ...]:
    attempts = {n: AttemptState(n, Evidence.NONE) for n in range(1, job.attempt + 1)}
    error: JobError | None = None
    for n, outcome in reports:
        move = advance(job, attempts[n], outcome)
        attempts[n] = AttemptState(n, move.evidence, move.attempt_error)
        job, error = _apply(job, error, move)
    # How many attempts a finished job had spent, nobody asks: it may depend on the order.
    return job.status, None if job.status in TERMINAL else job.spent, error, attempts


@given(data=st.data())
def test_status_error_and_evidence_do_not_depend_on_order_or_number(data: st.DataObject) -> None:
    newest = data.draw(st.integers(1, 3), label="attempts")
    status = data.draw(st.sampled_from(sorted(Status)), label="status")
    spent = data.draw(st.integers(1, 3), label="spent")
    one = st.tuples(st.integers(1, newest), st.sampled_from(OUTCOMES))
    reports = data.draw(st.lists(one, min_size=1, max_size=7), label="reports")
    doubles = data.draw(st.lists(st.sampled_from(reports), max_size=5), label="doubles")
    shuffled = data.draw(st.permutations(reports + doubles), label="another order")
    if status in TERMINAL and status is not Status.CANCELED:
        status = Status.TIMED_OUT
    job = JobState(Status(status), newest, spent, 3)
    assert _run(reports, job) == _run(list(shuffled), job)


@given(st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=7))
def test_an_attempt_s_evidence_is_the_strongest_that_was_heard(outcomes: list[Outcome | NotSent]) -> None:
    *_, attempts = _run([(1, outcome) for outcome in outcomes], JobState(Status.SUBMITTING, 1, 1, 3))
    assert attempts[1].evidence == max((evidence_of(o)[0] for o in outcomes), key=STRENGTH.__getitem__)


def test_what_may_be_sent_again_is_what_the_provider_did_nothing_with() -> None:
    assert {Evidence.NOT_SENT, Evidence.DECLINED} == RESENDABLE
