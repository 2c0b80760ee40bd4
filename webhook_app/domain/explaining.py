"""Why a job stands where it stands: one sentence with the verdict, one with the next step, and when that is. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from webhook_app.domain import schedule
from webhook_app.domain.errors import ErrorCode, JobError
from webhook_app.domain.job import ArchiveStatus, Evidence, ImageStatus, OnUnconfirmed, Status, WaitingFor

HOST_NOT_ALLOWED, NOT_DELIVERED = "host_not_allowed", "not_delivered"
NOTHING_LEFT = "Nothing is left to do."
RERUN = "A rerun gives it another try."
PAUSES: Mapping[str, str] = {
    "queue_full": "its queue is full",
    ErrorCode.PROVIDER_AUTH: "it refuses this server's key",
    ErrorCode.PROVIDER_QUOTA: "this server's account with it is used up",
}


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing is sent to the provider, or with `probing` one job at a time to see whether it takes jobs again. `until`
    None: until somebody resumes it. `reason` None: it is not for whoever asks."""

    reason: str | None
    until: datetime | None
    probing: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """The newest attempt. `polls` counts the looks at it, `poll_at` is the next one."""

    n: int
    sent_at: datetime
    evidence: Evidence = Evidence.NONE
    error: JobError | None = None
    provider_job_id: str | None = None
    note: str | None = None
    polls: int = 0
    poll_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture and how its copying stands."""

    index: int
    status: ImageStatus = ImageStatus.PENDING
    reason: str | None = None
    fetch_at: datetime | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What becomes of a submit that nothing confirms: by which rule and when. `room`: a repeat fits under the hour's
    cap."""

    rule: OnUnconfirmed
    decides_at: datetime
    room: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is known of a job when somebody asks. `asked_again_at`: some attempt of an ended job is still looked at."""

    status: Status
    now: datetime
    provider: str = "modelslab"
    waiting_for: WaitingFor | None = None
    previous_status: Status | None = None
    archive_status: ArchiveStatus = ArchiveStatus.NONE
    error: JobError | None = None
    attempts_allowed: int = 3
    spent: int = 0
    timeout_s: int = 900
    created_at: datetime
    due_at: datetime | None = None
    deadline_at: datetime | None = None
    queue_position: int | None = None
    attempt: Attempt | None = None
    asked_again_at: datetime | None = None
    pause: Pause | None = None
    confirmation: Confirmation | None = None
    pictures: Sequence[Picture] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """`next_at` None: at no known time."""

    verdict: str
    next_step: str
    next_at: datetime | None = None


def explain(case: Case) -> Explanation:
    """The verdict on a job that is not erased. Total: every status has its words, whatever else is known."""
    if case.waiting_for is WaitingFor.CONFIRMATION and case.attempt is not None:
        return _unconfirmed(case, case.attempt)
    match case.status:
        case Status.QUEUED:
            return _queued(case)
        case Status.SUBMITTING:
            return _submitting(case)
        case Status.PROCESSING:
            return _processing(case)
        case Status.SUCCEEDED:
            return _succeeded(case)
        case Status.FAILED | Status.TIMED_OUT:
            return _ended_badly(case)
        case Status.CANCELED:
            return _canceled(case)
        case _:
            assert_never(case.status)


def _queued(case: Case) -> Explanation:
    verdict = _why_queued(case)
    if case.spent == 0 and case.created_at + timedelta(seconds=case.timeout_s) < case.now:
        verdict += f" It was never sent, and has waited for longer than its timeout_s of {case.timeout_s} s."
    pause = case.pause
    if pause is not None and not pause.probing:
        if pause.until is None:
            return Explanation(verdict, f"Nothing is sent until somebody resumes {case.provider}.")
        return Explanation(verdict, f"{case.provider} is tried again; this job then goes in its turn.", pause.until)
    if case.due_at is not None and case.due_at > case.now:
        return Explanation(verdict, "It is sent again, as soon as a slot is free then.", case.due_at)
    return Explanation(verdict, f"It is sent when its turn comes and one of {case.provider}'s slots is free.")


def _why_queued(case: Case) -> str:
    if case.pause is not None:
        why = "" if case.pause.reason is None else f": {PAUSES.get(case.pause.reason, case.pause.reason)}"
        if case.pause.probing:
            return f"It waits in the queue: {case.provider} was paused{why}, and one job at a time tries it again."
        return f"It waits in the queue: {case.provider} is paused{why}."
    if case.waiting_for is WaitingFor.RETRY_AT and case.attempt is not None:
        return _why_again(case, case.attempt)
    if case.queue_position is None:
        return f"It waits in the queue for a slot at {case.provider}, behind at least 100 others of its client."
    return f"It waits in the queue for a slot at {case.provider}, at place {case.queue_position}."


def _why_again(case: Case, attempt: Attempt) -> str:
    match attempt.evidence:
        case Evidence.NOT_SENT:
            return f"{case.provider} could not be reached; nothing was sent, and no attempt is spent."
        case Evidence.DECLINED:
            return f"{case.provider} had no room for it; no attempt is spent."
        case _:
            left = f"{case.spent} of {case.attempts_allowed} attempts are spent"
            return f"Attempt {attempt.n} failed{_said(attempt.error)}, and may be tried again; {left}."


def _said(error: JobError | None) -> str:
    return f' ("{error.provider_message}")' if error is not None and error.provider_message else ""


def _submitting(case: Case) -> Explanation:
    if case.attempt is None:
        return Explanation("It is being sent to the provider.", "The provider's answer.")
    verdict = f"Attempt {case.attempt.n} is being sent to {case.provider}."
    until = case.attempt.sent_at + schedule.SUBMIT_TIMEOUT
    return Explanation(verdict, "The provider answers, or by then nobody knows whether it took the request.", until)


def _unconfirmed(case: Case, attempt: Attempt) -> Explanation:
    note = f" ({attempt.note})" if attempt.note else ""
    verdict = f"Nobody knows whether {case.provider} has attempt {attempt.n}{note}: evidence is waited for."
    confirmation = case.confirmation
    if confirmation is None or confirmation.rule is OnUnconfirmed.HOLD:
        verdict += " It is on hold, and its clock stands still."
        return Explanation(
            verdict, "Somebody decides (resolve: repeat or fail), unless a callback or a poll comes first."
        )
    at = confirmation.decides_at
    if confirmation.rule is OnUnconfirmed.FAIL or case.spent >= case.attempts_allowed:
        return Explanation(verdict, "Unless evidence comes, it is given up.", at)
    if not confirmation.room:
        step = "Unless evidence comes, it is sent again with the same seed once this hour's cap of repeats has room."
        return Explanation(verdict, step, at)
    return Explanation(verdict, "Unless evidence comes, it is sent again with the same seed.", at)


def _processing(case: Case) -> Explanation:
    attempt = case.attempt
    if attempt is None:
        return Explanation(f"It is with {case.provider}.", "Its callback, or a poll.", case.deadline_at)
    asked = f"; asked {attempt.polls} times so far" if attempt.polls else ""
    verdict = f"{case.provider} took attempt {attempt.n} and has not finished it{asked}."
    if attempt.provider_job_id is None:
        verdict += " It gave no id to ask about."
        return Explanation(
            verdict, "Its callback comes, or by then nobody knows whether it has the job.", attempt.poll_at
        )
    if attempt.poll_at is not None and (case.deadline_at is None or attempt.poll_at < case.deadline_at):
        return Explanation(verdict, "Its callback comes, or it is asked.", attempt.poll_at)
    return Explanation(verdict, "Its callback comes, or the job times out.", case.deadline_at)


def _succeeded(case: Case) -> Explanation:
    late = {Status.FAILED: "It had failed, and ", Status.TIMED_OUT: "It had timed out, and "}
    begin = late[case.previous_status] + "succeeded late" if case.previous_status in late else "It succeeded"
    asked = [picture for picture in case.pictures if picture.reason != NOT_DELIVERED]
    missing = len(case.pictures) - len(asked)
    fewer = f" {case.provider} delivered {missing} fewer than asked." if missing else ""
    copied = sum(picture.status is ImageStatus.ARCHIVED for picture in asked)
    if case.archive_status is ArchiveStatus.PENDING:
        waiting = [picture for picture in asked if picture.status is ImageStatus.PENDING]
        return _archiving(f"{begin}; {copied} of {len(asked)} pictures are copied.{fewer}", waiting)
    if case.archive_status is ArchiveStatus.ARCHIVED:
        pictures = "its picture is" if copied == 1 else f"all {copied} pictures are"
        return Explanation(f"{begin}, and {pictures} archived.{fewer}", NOTHING_LEFT)
    lost = [picture for picture in asked if picture.status is ImageStatus.LOST]
    if lost:
        why = ", ".join(f"picture {picture.index} ({picture.reason or 'expired'})" for picture in lost)
        step = "What is lost can be made anew: a rerun with the same seed gives equal pictures."
        return Explanation(f"{begin}, but {len(lost)} of {len(asked)} pictures are lost: {why}.{fewer}", step)
    return Explanation(f"{begin}; there is nothing to archive.{fewer}", NOTHING_LEFT)


def _archiving(verdict: str, waiting: Sequence[Picture]) -> Explanation:
    refused = [picture for picture in waiting if picture.reason == HOST_NOT_ALLOWED]
    if refused:
        which = ", ".join(str(picture.index) for picture in refused)
        verdict += f" Nobody vouches for the host of picture {which}."
        if len(refused) == len(waiting):
            step = (
                "It is copied once the provider's own answer confirms the address, or MODELSLAB_OUTPUT_HOSTS allows it."
            )
            return Explanation(verdict, step, _first(picture.fetch_at for picture in refused))
    troubled = next((picture for picture in waiting if picture.reason not in (None, HOST_NOT_ALLOWED)), None)
    if troubled is not None:
        verdict += f" The last try of picture {troubled.index}: {troubled.reason}."
    end = _first(picture.expires_at for picture in waiting)
    until = "" if end is None else f" The provider keeps it until {end:%Y-%m-%dT%H:%M:%SZ}."
    return Explanation(verdict, f"The next picture is fetched.{until}", _first(picture.fetch_at for picture in waiting))


def _first(instants: Iterable[datetime | None]) -> datetime | None:
    return min((at for at in instants if at is not None), default=None)


def _ended_badly(case: Case) -> Explanation:
    if case.status is Status.TIMED_OUT:
        verdict = f"It timed out: {case.provider} did not finish within its timeout_s of {case.timeout_s} s."
    elif case.error is None:
        verdict = "It failed."
    else:
        verdict = f"It failed ({case.error.code.value}): {case.error.message.rstrip('.')}{_said(case.error)}."
    if case.asked_again_at is not None:
        step = f"{case.provider} is asked once more: a late success still counts."
        return Explanation(verdict, step, case.asked_again_at)
    if case.error is not None and case.error.code in (ErrorCode.INVALID_INPUT, ErrorCode.PROVIDER_REFUSED):
        return Explanation(verdict, "It needs another input: rerun it with overrides.")
    return Explanation(verdict, RERUN)


def _canceled(case: Case) -> Explanation:
    if case.attempt is None:
        return Explanation("It was canceled before it was sent.", NOTHING_LEFT)
    verdict = f"It was canceled after attempt {case.attempt.n} had been sent, which may be charged."
    return Explanation(verdict, "What the provider still reports is kept on record, and changes nothing.")
