"""What is known of a job, put together for an explanation; the words are the domain's. Reads, and writes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from webhook_app.domain.explaining import Attempt, Case, Confirmation, Explanation, Pause, Picture, explain
from webhook_app.domain.job import ArchiveStatus, Evidence, ImageStatus, OnUnconfirmed, Status, WaitingFor
from webhook_app.domain.timeline import words
from webhook_app.flows import pausing, unconfirmed
from webhook_app.flows.apply import error_from
from webhook_app.flows.policy import Policy
from webhook_app.store import reads, slots

MOST = 1_000
STILL_ASKED = frozenset({Status.FAILED, Status.TIMED_OUT})


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a timeline; `type` is the event's, None for what no event tells."""

    at: datetime
    what: str
    type: str | None = None


@dataclass(frozen=True, slots=True)
class Explained:
    """A job explained. `waiting_for` is of this moment: nothing is written when a provider is paused."""

    waiting_for: WaitingFor | None
    explanation: Explanation
    timeline: list[Step]


def explained(
    connection: Connection, job: dict[str, Any], policy: Policy, *, names_reasons: bool, now: datetime
) -> Explained:
    """Explain a job's row. `names_reasons`: whoever asks may read what somebody wrote when they paused a provider."""
    attempts = reads.attempts_of(connection, job["track_id"], limit=MOST)
    case = _case(connection, job, attempts, policy, names_reasons=names_reasons, now=now)
    # As `show` has it.
    in_the_queue = case.waiting_for is WaitingFor.PROVIDER_SLOT or (case.due_at or now) <= now
    waits_for_it = case.pause is not None and not case.pause.probing and in_the_queue
    told = reads.events_of(connection, job["track_id"], limit=MOST)
    steps = [Step(event["created_at"], words(event["type"], event["data"]), event["type"]) for event in told]
    timeline = sorted([*steps, *_looks(attempts)], key=lambda step: step.at)
    return Explained(WaitingFor.PROVIDER_PAUSED if waits_for_it else case.waiting_for, explain(case), timeline)


def _looks(attempts: Sequence[dict[str, Any]]) -> list[Step]:
    """What was learned by asking: no event is written for a look that told nothing new."""
    found = []
    for attempt in attempts:
        if attempt["answered_at"] is not None:
            found.append(Step(attempt["answered_at"], f"the provider answered attempt {attempt['n']}"))
        if attempt["polled_at"] is not None:
            times = "once" if attempt["polls"] == 1 else f"{attempt['polls']} times, the last time now"
            found.append(Step(attempt["polled_at"], f"the provider was asked about attempt {attempt['n']} {times}"))
    return found


def _case(
    connection: Connection,
    job: dict[str, Any],
    attempts: Sequence[dict[str, Any]],
    policy: Policy,
    *,
    names_reasons: bool,
    now: datetime,
) -> Case:
    status, track_id = Status(job["status"]), job["track_id"]
    polls = [attempt["poll_at"] for attempt in attempts if attempt["poll_at"] is not None]
    return Case(
        status=status,
        now=now,
        provider=job["provider"],
        waiting_for=WaitingFor(job["waiting_for"]) if job["waiting_for"] else None,
        previous_status=Status(job["previous_status"]) if job["previous_status"] else None,
        archive_status=ArchiveStatus(job["archive_status"]),
        error=error_from(job["error"]),
        attempts_allowed=policy.attempts_allowed,
        spent=job["spent"],
        timeout_s=job["timeout_s"],
        created_at=job["created_at"],
        due_at=job["due_at"],
        deadline_at=job["deadline_at"],
        queue_position=reads.queue_positions(connection, [job]).get(track_id),
        attempt=_attempt(attempts[-1]) if attempts else None,
        asked_again_at=min(polls, default=None) if status in STILL_ASKED else None,
        pause=_pause(connection, job["provider"], names_reasons, now) if status is Status.QUEUED else None,
        confirmation=_confirmation(connection, job, policy, now),
        pictures=[_picture(row) for row in reads.images_of(connection, [track_id])[track_id]],
    )


def _attempt(row: dict[str, Any]) -> Attempt:
    return Attempt(
        n=row["n"],
        sent_at=row["sent_at"],
        evidence=Evidence(row["evidence"]),
        error=error_from(row["error"]),
        provider_job_id=row["provider_job_id"],
        note=row["note"],
        polls=row["polls"],
        poll_at=row["poll_at"],
    )


def _picture(row: dict[str, Any]) -> Picture:
    status = ImageStatus(row["status"])
    return Picture(row["index"], status, row["reason"], row["fetch_at"], row["source_expires_at"])


def _pause(connection: Connection, provider: str, names_reasons: bool, now: datetime) -> Pause | None:
    row = slots.state(connection, provider)
    if row is None or row.paused_at is None:
        return None
    holds = row.paused_until is None or row.paused_until > now
    if not holds and row.paused_reason not in pausing.REFUSALS:
        return None
    told = names_reasons or row.paused_by in pausing.OURS
    return Pause(row.paused_reason if told else None, row.paused_until, probing=not holds)


def _confirmation(connection: Connection, job: dict[str, Any], policy: Policy, now: datetime) -> Confirmation | None:
    if job["unconfirmed_since"] is None:
        return None
    decides_at = job["unconfirmed_since"] + unconfirmed.wait_for_evidence(connection, policy, now)
    repeats = policy.on_unconfirmed is OnUnconfirmed.REPEAT
    room = not repeats or unconfirmed.room(connection, policy, now) > 0
    return Confirmation(rule=policy.on_unconfirmed, decides_at=decides_at, room=room)
