"""The provider's JSON, read into outcomes. Pure and total: any bytes give a value, nothing here raises or waits.

The union of the dialect is read (the contract page, sections 2 to 4): a JSON object with a `status` is believed
whatever the HTTP status; the HTTP status counts only without one. `secret` is our API key; it is cut out of every text.
"""

from collections.abc import Mapping
from http import HTTPStatus

from webhook_app.domain.erasure import ProviderCopy
from webhook_app.domain.outcome import (
    CallbackReading,
    Finished,
    PollAnswer,
    Running,
    SubmitAnswer,
    Unconfirmed,
    Unread,
)
from webhook_app.provider.modelslab import members, refusals
from webhook_app.provider.modelslab.body import Object, read_form, read_object
from webhook_app.provider.modelslab.pictures import pictures_in

DONE = frozenset({"success", "ready"})
WAITING = frozenset({"processing", "queued"})
ENDED_BADLY = frozenset({"failed", "error"})


def read_submit(http_status: int, headers: Mapping[str, str], body: bytes, *, secret: str = "") -> SubmitAnswer:
    """The answer to a submit. `Unconfirmed` where it does not say whether the request was taken."""
    answer = read_object(body, secret=secret)
    status = members.status_of(answer) if answer is not None else None
    if answer is None or status is None:
        return refusals.without_status(http_status, headers, answer)
    good = _good_news(answer, status)
    if good is not None:
        return good
    if status in ENDED_BADLY:
        return refusals.of_submit(answer, status, http_status, headers)
    if members.provider_job_id(answer) is not None:
        # An unknown word, but it was given an id: it was taken, and can be asked about.
        return _running(answer, status)
    return Unconfirmed(f"HTTP {http_status} with the unknown status {status!r}")


def read_fetch(http_status: int, body: bytes, *, asked: tuple[str, str] | None = None, secret: str = "") -> PollAnswer:
    """The answer to a fetch. `Unread` where it tells nothing about the job that was `asked` about (the provider's id,
    our track_id), or names another."""
    answer = read_object(body, secret=secret)
    status = members.status_of(answer) if answer is not None else None
    if answer is None or status is None:
        return Unread(f"HTTP {http_status} without a status")
    if asked is not None and members.names_another(answer, *asked):
        return Unread("the answer is about another job")
    good = _good_news(answer, status)
    if good is not None:
        return good
    if status == "failed" or (status == "error" and refusals.speaks_of_the_generation(answer)):
        return refusals.of_report(answer, status)
    return Unread(f"HTTP {http_status}, status {status!r}: {members.reason(answer)[:200]}")


def read_deletion(http_status: int, body: bytes) -> ProviderCopy | None:
    """The answer to a request to delete pictures; None where it may be another one later."""
    answer = read_object(body)
    status = members.status_of(answer) if answer is not None else None
    if status in DONE:
        return ProviderCopy.DELETED
    later = (
        status is None or http_status == HTTPStatus.TOO_MANY_REQUESTS or http_status >= HTTPStatus.INTERNAL_SERVER_ERROR
    )
    return None if later else ProviderCopy.REFUSED


def read_callback(body: bytes, content_type: str | None = None, *, secret: str = "") -> CallbackReading:
    """What was posted to us: JSON whatever the content type says, form fields as the last resort."""
    answer = read_object(body, secret=secret)
    if answer is None and _may_be_form(body, content_type):
        answer = read_form(body, secret=secret)
    if answer is None:
        return CallbackReading(None, None, "the body is not a JSON object" if body.strip() else "the body is empty")
    named = members.track_id(answer)
    status = members.status_of(answer)
    if status is None or "training_status" in answer:
        return CallbackReading(None, named, "the body has no status of a generation")
    good = _good_news(answer, status)
    if good is not None:
        bare = status in DONE and isinstance(good, Running)
        return CallbackReading(good, named, "a success without usable pictures" if bare else None)
    if status in ENDED_BADLY:
        return CallbackReading(refusals.of_report(answer, status), named)
    return CallbackReading(None, named, f"the status {status!r} is unknown")


def _may_be_form(body: bytes, content_type: str | None) -> bool:
    return "form-urlencoded" in (content_type or "").lower() or body.lstrip()[:7].lower() == b"status="


def _good_news(answer: Object, status: str) -> Finished | Running | None:
    """Pictures, or the promise of some. A success without usable pictures is a promise: the provider has the job, and a
    callback or a poll may still bring them; sending it again would pay twice. `error` with pictures is a success."""
    if status in WAITING:
        return _running(answer, status)
    if status not in DONE and status != "error":
        return None
    pictures = pictures_in(answer)
    if not pictures:
        return _running(answer, status) if status in DONE else None
    return Finished(
        pictures=pictures,
        provider_job_id=members.provider_job_id(answer),
        seed=members.seed(answer),
        generation_time_s=members.number(answer.get("generationTime")),
        nsfw=members.flag(answer.get("nsfw_content_detected")),
        provider_status=status,
        meta=members.meta_of(answer),
    )


def _running(answer: Object, status: str) -> Running:
    return Running(members.provider_job_id(answer), members.number(answer.get("eta")), status)
