"""What a decided move changes in the rows of a job, its attempt and its pictures, and the events that tell it."""

import random
from datetime import datetime, timedelta
from typing import Any

from webhook_app.domain import schedule
from webhook_app.domain.advance import Move
from webhook_app.domain.durations import seconds_between
from webhook_app.domain.estimates import Estimate, kind_of
from webhook_app.domain.events import Event, EventType
from webhook_app.domain.job import (
    ArchiveStatus,
    Evidence,
    ImageFlag,
    ImageStatus,
    OnUnconfirmed,
    Status,
    WaitingFor,
    archive_status_of,
)
from webhook_app.domain.outcome import Finished, NotSent, Outcome, Running, Witness
from webhook_app.flows import tally
from webhook_app.flows.ledger import Ledger, Report
from webhook_app.flows.policy import Policy

NOT_DELIVERED = "not_delivered"
HOST_NOT_ALLOWED = "host_not_allowed"
HOST_LOOK_AGAIN = timedelta(seconds=15)
IDLE: dict[str, Any] = {"lease_owner": None, "lease_until": None, "unconfirmed_since": None}


def learn_id_and_eta(
    attempt: dict[str, Any], outcome: Outcome | NotSent, *, expected: Estimate | None, now: datetime
) -> None:
    """The provider's id stays once it is known. A running attempt is looked at when nine of ten of its kind have been
    told, else after its eta, and one without an id when its callback must have been lost."""
    provider_job_id = getattr(outcome, "provider_job_id", None)
    learned = provider_job_id is not None and attempt["provider_job_id"] is None
    if learned:
        attempt |= {"provider_job_id": provider_job_id, "unconfirmed_at": None}
    if attempt["evidence"] == Evidence.RUNNING:
        if isinstance(outcome, Running) and outcome.eta_s is not None:
            attempt["eta_s"] = outcome.eta_s
        late_s = attempt["eta_s"] if expected is None else expected.late_s
        if attempt["provider_job_id"] is None and attempt["poll_at"] is None and attempt["unconfirmed_at"] is None:
            attempt["poll_at"] = now + schedule.silent_after(late_s)
        elif attempt["provider_job_id"] is not None and (learned or attempt["poll_at"] is None):
            attempt["poll_at"] = now + schedule.first_poll_after(late_s)


def of_move(
    ledger: Ledger,
    job: dict[str, Any],
    attempt: dict[str, Any],
    report: Report,
    move: Move,
    *,
    policy: Policy,
    now: datetime,
) -> bool:
    """Change the job's rows accordingly. True when the job itself changed."""
    recounted = _recount(job, attempt, move)
    if move.to in (Status.PROCESSING, Status.QUEUED):
        _restart_clock(job, policy, now)
    if isinstance(report.outcome, Finished) and (move.to is Status.SUCCEEDED or _won(ledger, job, attempt)):
        return _succeed(ledger, job, attempt, report, report.outcome, move, policy=policy, now=now)
    if move.to is Status.PROCESSING:
        job |= IDLE | {"status": Status.PROCESSING.value, "waiting_for": WaitingFor.CALLBACK.value, "due_at": None}
        _expect(job, attempt, policy)
    elif move.to is Status.QUEUED:
        _queue_again(ledger, job, attempt, move, now)
    elif move.to is Status.FAILED:
        _end(ledger, job, Status.FAILED, now)
        code = move.error.code.value if move.error else None
        data = {"attempt": attempt["n"], "witness": report.witness.value, "code": code}
        ledger.events.append(event(EventType.JOB_FAILED, job, "provider", now, data))
    elif move.error is None:
        return _found_again(job, attempt, policy, now) or _note_id(job, attempt) or recounted
    job["error"] = move.error.as_json() if move.error else None
    _note_id(job, attempt)
    job["provider_status"] = getattr(report.outcome, "provider_status", job["provider_status"])
    return True


def _expect(job: dict[str, Any], attempt: dict[str, Any], policy: Policy) -> None:
    """By when it is overdue: told once, if its time is not over before."""
    expected = policy.expect(job)
    if expected is None:
        return
    overdue_at = attempt["sent_at"] + schedule.overdue_after(expected.late_s)
    if job["deadline_at"] is None or overdue_at < job["deadline_at"]:
        job["overdue_at"] = overdue_at


def event(kind: EventType, job: dict[str, Any], actor: str, now: datetime, data: dict[str, Any]) -> Event:
    """An event of a job."""
    return Event(kind, actor, now, job["track_id"], job["client_id"], job["batch_id"], data)


def _recount(job: dict[str, Any], attempt: dict[str, Any], move: Move) -> bool:
    """Let the attempt count or not. Without any that counts, the job was never sent: its time does not run."""
    if move.spent_change == 0:
        return False
    job["spent"] += move.spent_change
    timeout = timedelta(seconds=job["timeout_s"])
    if job["spent"] == 0:
        job |= {"deadline_at": None, "submitted_at": None}
        if job["created_at"] + timeout > attempt["sent_at"]:  # Else it has been told as overdue before.
            job["overdue_at"] = job["created_at"] + timeout
    elif job["deadline_at"] is None:
        job |= {"deadline_at": attempt["sent_at"] + timeout, "submitted_at": attempt["sent_at"], "overdue_at": None}
    return True


def _restart_clock(job: dict[str, Any], policy: Policy, now: datetime) -> None:
    """On hold the clock stood still."""
    since = job["unconfirmed_since"]
    if since is not None and job["deadline_at"] is not None and policy.on_unconfirmed is OnUnconfirmed.HOLD:
        job["deadline_at"] += now - since


def _found_again(job: dict[str, Any], attempt: dict[str, Any], policy: Policy, now: datetime) -> bool:
    """An attempt that was accepted without an id has one now: it can be asked about, and needs no confirmation and no
    repeat."""
    asked = attempt["n"] == job["attempt"] and attempt["evidence"] == Evidence.RUNNING and _note_id(job, attempt)
    if not asked or not (job["status"] == Status.QUEUED or job["unconfirmed_since"] is not None):
        return asked
    _restart_clock(job, policy, now)
    job |= IDLE | {"status": Status.PROCESSING.value, "waiting_for": WaitingFor.CALLBACK.value, "due_at": None}
    return True


def _note_id(job: dict[str, Any], attempt: dict[str, Any]) -> bool:
    """The job shows the id of its newest attempt, or of the one whose pictures it has."""
    if attempt["provider_job_id"] is None or job["provider_job_id"] == attempt["provider_job_id"]:
        return False
    if job["status"] == Status.SUCCEEDED:
        shown = job["provider_job_id"] is None and attempt["evidence"] == Evidence.SUCCESS
    else:
        shown = attempt["n"] == job["attempt"]
    if not shown:
        return False
    job["provider_job_id"] = attempt["provider_job_id"]
    return True


def _won(ledger: Ledger, job: dict[str, Any], attempt: dict[str, Any]) -> bool:
    """Whether this attempt's pictures are the job's, so that another report of it may complete them."""
    mine = ledger.images.get(job["track_id"], {}).values()
    return job["status"] == Status.SUCCEEDED and any(image["source_attempt"] == attempt["n"] for image in mine)


def _end(ledger: Ledger, job: dict[str, Any], status: Status, now: datetime) -> None:
    ledger.ends += tally.end_of(job, status)
    if job["completed_at"] is not None:
        job["previous_status"] = job["status"]
    job |= IDLE | {"status": status.value, "completed_at": now, "waiting_for": None, "due_at": None, "overdue_at": None}
    ledger.released.add(job["track_id"])


def _queue_again(ledger: Ledger, job: dict[str, Any], attempt: dict[str, Any], move: Move, now: datetime) -> None:
    jitter = random.random()
    if move.evidence is Evidence.RETRYABLE:
        delay = schedule.backoff(job["spent"], jitter=jitter, first_s=2.5)
    else:
        delay = schedule.backoff(attempt["sends"] - 1, jitter=jitter)
    waiting = WaitingFor.RETRY_AT.value
    job |= IDLE | {"status": Status.QUEUED.value, "waiting_for": waiting, "due_at": now + delay}
    ledger.released.add(job["track_id"])
    data = {
        "attempt": attempt["n"],
        "evidence": move.evidence.value,
        "retry_in_s": round(delay / timedelta(seconds=1), 3),
    }
    ledger.events.append(event(EventType.SUBMIT_RETRIED, job, "worker", now, data))


def _succeed(
    ledger: Ledger,
    job: dict[str, Any],
    attempt: dict[str, Any],
    report: Report,
    outcome: Finished,
    move: Move,
    *,
    policy: Policy,
    now: datetime,
) -> bool:
    pictures = ledger.images[job["track_id"]]
    first = move.to is Status.SUCCEEDED
    merged = _merge_pictures(ledger, job, attempt, report, outcome, policy=policy, now=now)
    known = {
        "seed": job["seed"] if outcome.seed is None else outcome.seed,
        "generation_time_s": outcome.generation_time_s or job["generation_time_s"],
        "provider_meta": outcome.meta or job["provider_meta"],
    }
    if first:
        _end(ledger, job, Status.SUCCEEDED, now)
        job |= {
            "error": None,
            "provider_status": outcome.provider_status,
            "provider_job_id": attempt["provider_job_id"],
        }
        data = {"attempt": attempt["n"], "witness": report.witness.value, "images": len(outcome.pictures)}
        data |= {"previous_status": job["previous_status"], "generation_s": seconds_between(attempt["sent_at"], now)}
        data["kind"] = kind_of(job["input"], job["samples"])
        ledger.events.append(event(EventType.JOB_SUCCEEDED, job, "provider", now, data))
    elif not merged and all(job[name] == value for name, value in known.items()):
        return _note_id(job, attempt)
    job |= known
    _note_id(job, attempt)
    delivered = [image for image in pictures.values() if image["reason"] != NOT_DELIVERED]
    job["archive_status"] = archive_status_of([ImageStatus(image["status"]) for image in delivered]).value
    pending = job["archive_status"] == ArchiveStatus.PENDING
    job |= {"waiting_for": WaitingFor.ARCHIVE.value, "archived_at": None} if pending else {"waiting_for": None}
    job["flags"] = ["fewer_than_asked"] if len(delivered) < job["samples"] else []
    return True


def _merge_pictures(
    ledger: Ledger,
    job: dict[str, Any],
    attempt: dict[str, Any],
    report: Report,
    outcome: Finished,
    *,
    policy: Policy,
    now: datetime,
) -> bool:
    """Give the pictures their sources, by index; what the job did not ask for is ignored. True when anything
    changed."""
    by_index = {picture.index: picture.sources for picture in outcome.pictures if picture.sources}
    changed = False
    for index, image in ledger.images[job["track_id"]].items():
        before = dict(image)
        if index in by_index and image["status"] != ImageStatus.ARCHIVED:
            expires = attempt["sent_at"] + schedule.PICTURE_LIFETIME
            _give_sources(ledger, job, image, by_index[index], report, expires, policy=policy, now=now)
        elif index not in by_index and not image["sources"] and image["reason"] is None:
            lost = {"status": ImageStatus.LOST.value, "reason": NOT_DELIVERED, "source_attempt": attempt["n"]}
            image |= lost
        if outcome.nsfw and index in by_index and ImageFlag.NSFW not in image["flags"]:
            image["flags"] = [*image["flags"], ImageFlag.NSFW.value]
            data = {"image_id": image["image_id"], "flag": ImageFlag.NSFW.value}
            ledger.events.append(event(EventType.IMAGE_FLAGGED, job, "provider", now, data))
        if image != before:
            ledger.changed_images.add((job["track_id"], index))
            changed = True
    return changed


def _give_sources(
    ledger: Ledger,
    job: dict[str, Any],
    image: dict[str, Any],
    sources: tuple[str, ...],
    report: Report,
    expires: datetime,
    *,
    policy: Policy,
    now: datetime,
) -> None:
    trusted = report.witness is not Witness.CALLBACK
    if not trusted and image["source_witness"] not in (None, Witness.CALLBACK):
        # The picture may be fetched from anywhere that the provider itself named, and a callback adds nothing to that.
        sources = tuple(source for source in sources if source.startswith("data:") or policy.host_known(source))
    merged = [*image["sources"], *(source for source in sources if source not in image["sources"])]
    if merged == image["sources"] and (not trusted or image["source_witness"] != Witness.CALLBACK):
        return
    witness = report.witness.value if trusted or image["source_witness"] is None else image["source_witness"]
    if trusted:
        merged = [*sources, *(source for source in merged if source not in sources and policy.host_known(source))]
    usable = trusted or any(source.startswith("data:") or policy.host_known(source) for source in merged)
    image |= {
        "status": ImageStatus.PENDING.value,
        "sources": merged,
        "source_witness": witness,
        "source_attempt": report.attempt,
        "source_expires_at": expires,
        "reason": None if usable else HOST_NOT_ALLOWED,
        "fetch_at": now if usable else now + HOST_LOOK_AGAIN,
    }
    if not usable:
        ledger.look_at(job["track_id"], report.attempt, now)
        data = {"image_id": image["image_id"]}
        ledger.events.append(event(EventType.IMAGE_HOST_REFUSED, job, "worker", now, data))
