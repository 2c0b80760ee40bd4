"""What a provider says about a job, in our words, whichever of the three witnesses (submit answer, callback, poll) said
it.

An adapter reads foreign JSON into one of these values; `domain.advance` decides what they mean for a job.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from webhook_app.domain.errors import ErrorCode


class Witness(StrEnum):
    """Who said it. Only what came over our own TLS connection (submit, poll) may name pictures at any public host."""

    SUBMIT = "submit"
    CALLBACK = "callback"
    POLL = "poll"


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a result. `sources` are its addresses in the order to try: http(s) URLs, or one `data:` URI
    where the provider sent the bytes inline. A URL ending in `.base64` serves base64 text."""

    index: int
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Running:
    """Accepted and not finished. `eta_s` is the provider's advice in seconds; ids are text or None."""

    provider_job_id: str | None = None
    eta_s: float | None = None
    provider_status: str = "processing"


@dataclass(frozen=True, slots=True)
class Finished:
    """Usable pictures exist. `seed` is the one really used, None where the provider does not say."""

    pictures: tuple[Picture, ...]
    provider_job_id: str | None = None
    seed: int | None = None
    generation_time_s: float | None = None
    nsfw: bool | None = None
    provider_status: str = "success"
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """The generation failed. `retryable` is the provider's "Try Again": another attempt may succeed."""

    message: str
    retryable: bool
    provider_job_id: str | None = None
    provider_status: str = "failed"
    code: ErrorCode = ErrorCode.GENERATION_FAILED


@dataclass(frozen=True, slots=True)
class Refused:
    """The request was turned down for good. `PROVIDER_AUTH` and `PROVIDER_QUOTA` concern every job, not this one."""

    message: str
    code: ErrorCode = ErrorCode.PROVIDER_REFUSED
    provider_status: str = "error"


@dataclass(frozen=True, slots=True)
class Later:
    """No room now (429, "Rate limit exceeded"): costs no attempt. `retry_after_s` is None where the provider names no
    time."""

    message: str
    retry_after_s: float | None = None
    provider_status: str = "error"


Outcome = Running | Finished | Failed | Refused | Later


@dataclass(frozen=True, slots=True)
class NotSent:
    """The request provably never reached the provider (name, refused, connect time-out, TLS): free to send again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """The provider may have taken the request: reset, time-out, cut or unreadable answer. Never folded into a
    failure."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unread:
    """A poll told nothing about the job (network fault, HTML, unknown id): a fault of the call, not of the job."""

    reason: str


SubmitAnswer = Outcome | NotSent | Unconfirmed
PollAnswer = Outcome | Unread


@dataclass(frozen=True, slots=True)
class CallbackReading:
    """A callback body, read. `outcome` is None where the body says nothing usable, and `problem` then says why.
    `names_track_id` is the track_id that the body itself carries, as text; the URL's wins."""

    outcome: Outcome | None
    names_track_id: str | None = None
    problem: str | None = None
