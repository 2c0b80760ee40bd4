"""What is posted to a webhook, by habit of the callback. Pure; the sender is elsewhere."""

import string
from dataclasses import dataclass, field
from typing import Any

from webhook_app.emulator import bodies, pages
from webhook_app.emulator.job import Job
from webhook_app.emulator.shaping import shaped
from webhook_app.emulator.words import CallbackHabit

JSON, HTML = "application/json", "text/html; charset=utf-8"
OVER_1_MIB = 2**20 + 2**16
HUGE, EXCERPT = 2**16, 2**12
BASE64URL = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"


@dataclass(frozen=True, slots=True)
class Posting:
    """One POST. `says` is for the ledger: result, progress, failure, forgery or rubbish."""

    says: str
    url: str
    body: str = field(repr=False)
    content_type: str = JSON


def postings(job: Job) -> list[Posting]:
    """All POSTs to the webhook of a finished job, in order; none without a webhook."""
    url = job.submission.webhook
    if not url:
        return []
    true = shaped(bodies.callback(job), job.fate.shape)
    result = Posting("result", url, bodies.php_json(true))
    match job.fate.callback:
        case CallbackHabit.ONCE | CallbackHabit.LATE | CallbackHabit.EARLY:
            return [result]
        case CallbackHabit.TWICE:
            return [result, result]
        case CallbackHabit.NEVER:
            return []
        case CallbackHabit.REORDERED:
            return [result, _posting("progress", url, job, bodies.progress(job)), _failure("failure", url, job)]
        case CallbackHabit.UNTRACKED:
            return [Posting("result", url, bodies.php_json(bodies.untracked(true)))]
        case CallbackHabit.MALFORMED:
            return [Posting("rubbish", url, result.body[: len(result.body) * 2 // 3])]
        case CallbackHabit.HUGE:
            return [Posting("rubbish", url, bodies.php_json(true | {"logs": "." * OVER_1_MIB}))]
        case CallbackHabit.HTML:
            return [Posting("rubbish", url, pages.SERVER_ERROR, HTML)]
        case CallbackHabit.ERROR_WITH_PICTURES:
            return [_posting("result", url, job, bodies.error_with_pictures(job))]
        case CallbackHabit.FORGED:
            return [_failure("forgery", forged(url), job), result]


def _posting(says: str, url: str, job: Job, body: dict[str, Any]) -> Posting:
    return Posting(says, url, bodies.php_json(shaped(body, job.fate.shape)))


def _failure(says: str, url: str, job: Job) -> Posting:
    return _posting(says, url, job, bodies.failure(job))


def forged(url: str) -> str:
    """The URL with its last character changed: a token at its end is then a wrong one.

    Of the last character of base64url text only the top bits may count, so the top one is turned.
    """
    place = BASE64URL.find(url[-1])
    return url[:-1] + ("A" if place < 0 else BASE64URL[place ^ 32])


def excerpt(body: str) -> str:
    """A body for the ledger; a huge one is shortened."""
    return body if len(body) <= HUGE else f"{body[:EXCERPT]}... ({len(body)} characters)"
