"""Asking the provider to delete its copies of an erased job: not before it is done with the job, for what it has in
hand it cannot delete, and in any case before its pictures end by themselves."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row

from webhook_app.domain import schedule
from webhook_app.domain.erasure import ProviderCopy
from webhook_app.domain.job import Evidence
from webhook_app.domain.outcome import Later, Running, Unread
from webhook_app.provider.port import Provider

# Rounds without an answer; with their pauses about an hour and a half.
MOST_TRIES = 12
NOTHING_MADE = frozenset({Evidence.NOT_SENT, Evidence.DECLINED, Evidence.RETRYABLE, Evidence.PERMANENT})
UNDER_WAY = frozenset({Evidence.NONE, Evidence.RUNNING})
# By then the pictures' 24 hours are nearly over: whatever the provider is doing, it is asked.
LAST_CALL = schedule.PICTURE_LIFETIME - timedelta(hours=1)
LOOK_LEAST, LOOK_MOST = timedelta(seconds=5), timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class NotYet:
    """Nothing is known of a copy so far, and the next look is then. `silent`: the provider was asked in vain."""

    again_at: datetime
    silent: bool


def recall(provider: Provider, model: str, attempt: Row[Any], *, tries: int, now: datetime) -> ProviderCopy | NotYet:
    """What became of the copy of one attempt, of which the provider is asked at most twice. `tries` counts earlier
    rounds in vain. May be repeated; what it deleted before it may say that it does not know."""
    age = now - attempt.sent_at
    if attempt.provider_job_id is None:
        return _without_id(attempt, age, now)
    if age >= schedule.PICTURE_LIFETIME:
        return ProviderCopy.EXPIRED
    if attempt.evidence in UNDER_WAY and age < LAST_CALL:
        match provider.fetch(model, attempt.provider_job_id, attempt.track_id):
            case Running():
                return NotYet(min(now + _look_after(age), attempt.sent_at + LAST_CALL), silent=False)
            case Unread() | Later() if tries + 1 < MOST_TRIES:
                return _again(tries, now)
    answer = provider.delete_copy(attempt.provider_job_id)
    if answer is None and tries + 1 < MOST_TRIES:
        return _again(tries, now)
    return answer or ProviderCopy.UNANSWERED


def _without_id(attempt: Row[Any], age: timedelta, now: datetime) -> ProviderCopy | NotYet:
    """The answer to a submit that is under way, or a callback, may still bring the id."""
    if attempt.evidence in NOTHING_MADE:
        return ProviderCopy.NONE
    if age >= schedule.PICTURE_LIFETIME:
        return ProviderCopy.EXPIRED
    if attempt.evidence in UNDER_WAY and age < max(schedule.CONFIRM_MOST, schedule.slot_held_for(attempt.eta_s)):
        return NotYet(now + _look_after(age), silent=False)
    return ProviderCopy.UNNAMED


def _look_after(age: timedelta) -> timedelta:
    """The longer it has taken, the longer it may take."""
    return min(max(age / 4, LOOK_LEAST), LOOK_MOST)


def _again(tries: int, now: datetime) -> NotYet:
    pause = schedule.backoff(tries, jitter=random.random(), first_s=5.0, most_s=3600.0)
    return NotYet(now + pause, silent=True)
