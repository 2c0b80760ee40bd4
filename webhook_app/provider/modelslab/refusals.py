"""What the provider's error texts mean. Two worlds: real HTTP codes as documented, and HTTP 200 for all as observed
(the contract page, 2.4). The text decides first, because it is there in both."""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from enum import Enum, auto

from webhook_app.domain.errors import ErrorCode
from webhook_app.domain.outcome import Failed, Later, Refused, Unconfirmed
from webhook_app.provider.modelslab import members
from webhook_app.provider.modelslab.body import Object


class Complaint(Enum):
    """What is wrong, in the order in which texts are tried."""

    AUTH = auto()
    QUOTA = auto()
    RATE = auto()
    REFUSED = auto()
    AGAIN = auto()
    INPUT = auto()


_WORDS = (
    # "The key field is required." is the framework's way to miss the API key.
    (Complaint.AUTH, r"\bapi[ _-]?key\b|\bthe key field\b|\bunauthenticated\b|\bunauthorized\b"),
    (Complaint.QUOTA, r"\bmonthly limit\b|\bcredits?\b|\bquota\b|\bupgrade (your )?subscription\b"),
    (Complaint.RATE, r"\brate limit|\btoo many requests\b|\bqueued requests\b"),
    (Complaint.REFUSED, r"\bmodel( id)? not found\b|\bpremium subscription\b"),
    (Complaint.AGAIN, r"\btry again\b|\bserver error\b|\btemporarily unavailable\b"),
    (
        Complaint.INPUT,
        r"\bis required\b|\bmust (be|not)\b|\bmay not be\b|\bdivisible by\b|\bfield\b.*\b(is|has)\b"
        r"|\binvalid (input|image|url|parameter|value|prompt|dimension)|\bunable to fetch image\b",
    ),
)
_patterns = tuple((complaint, re.compile(words, re.IGNORECASE)) for complaint, words in _WORDS)
# Of a fetch answer: a text about the generation, not about the call.
_of_the_generation = re.compile(r"\bfailed, ?try again\b|\b(generation|processing|image) failed\b", re.IGNORECASE)

CODE_OF = {
    Complaint.AUTH: ErrorCode.PROVIDER_AUTH,
    Complaint.QUOTA: ErrorCode.PROVIDER_QUOTA,
    Complaint.REFUSED: ErrorCode.PROVIDER_REFUSED,
    Complaint.INPUT: ErrorCode.INVALID_INPUT,
}
BY_HTTP_STATUS = {401: Complaint.AUTH, 402: Complaint.QUOTA, 429: Complaint.RATE}
# They do not say whether the request was read to its end and taken.
TELLS_NOTHING = frozenset({408, 425, 499})


def complaint_in(answer: Object) -> Complaint | None:
    """What the answer's text complains about; None for an empty or unknown one."""
    member = members.complaint(answer)
    text = members.text_of(member)
    found = next((complaint for complaint, pattern in _patterns if pattern.search(text)), None)
    if isinstance(member, dict) and found not in (Complaint.AUTH, Complaint.QUOTA, Complaint.RATE):
        # The framework's bag, texts by field: validation, whatever the texts.
        return Complaint.INPUT
    return found


def of_submit(answer: Object, status: str, http_status: int, headers: Mapping[str, str]) -> Failed | Refused | Later:
    """A submit that was answered `error` or `failed`. An unknown text is decided by the HTTP status, and else may be
    tried again, `SUBMIT_ATTEMPTS` times at most."""
    complaint = complaint_in(answer)
    if complaint is None and status == "error":
        complaint = _by_http_status(http_status)
    if complaint is Complaint.RATE:
        return Later(members.reason(answer), retry_after(answer, headers), status)
    wide = complaint in (Complaint.AUTH, Complaint.QUOTA)
    if complaint in CODE_OF and (wide or status == "error"):
        return Refused(members.reason(answer), CODE_OF[complaint], status)
    return _failed(answer, status, complaint)


def of_report(answer: Object, status: str) -> Failed | Refused:
    """A callback or poll that says `error` or `failed`: the provider had taken the job, so this is its end. Key, credit
    and rate are the next submit's to find out."""
    complaint = complaint_in(answer)
    if status == "error" and complaint in (Complaint.REFUSED, Complaint.INPUT):
        return Refused(members.reason(answer), CODE_OF[complaint], status)
    return _failed(answer, status, complaint)


def speaks_of_the_generation(answer: Object) -> bool:
    """Whether a fetch's `error` tells about the job. Mostly it tells about the call: an unknown id, a limit."""
    return _of_the_generation.search(members.text_of(members.complaint(answer))) is not None


def _failed(answer: Object, status: str, complaint: Complaint | None) -> Failed:
    text = members.reason(answer)
    if complaint is None:
        # `failed` with a reason of its own is final; without any, or as `error`, a few tries are worth it.
        retryable = status == "error" or members.complaint(answer) is None
    else:
        retryable = complaint not in (Complaint.REFUSED, Complaint.INPUT)
    return Failed(text, retryable, members.provider_job_id(answer), status)


def without_status(
    http_status: int, headers: Mapping[str, str], answer: Object | None
) -> Refused | Later | Unconfirmed:
    """An answer to a submit that is no JSON object with a status: the HTTP status decides, and where even that one
    tells nothing (2xx, 3xx, 5xx), nobody knows whether the request was taken."""
    text = members.reason(answer or {}) or f"HTTP {http_status}"
    complaint = _by_http_status(http_status)
    if http_status == 403 and answer is None:
        # Not the provider's words: something before it keeps us out, with every job.
        complaint = Complaint.AUTH
    if complaint is Complaint.RATE:
        return Later(text, retry_after(answer or {}, headers), str(http_status))
    if complaint is None:
        what = "an answer that is not JSON" if answer is None else "a JSON answer without a status"
        return Unconfirmed(f"HTTP {http_status} with {what}")
    if complaint is Complaint.INPUT and answer is None:
        complaint = Complaint.REFUSED
    return Refused(text, CODE_OF[complaint], str(http_status))


def _by_http_status(http_status: int) -> Complaint | None:
    if http_status in (400, 422):
        return Complaint.INPUT
    if http_status in TELLS_NOTHING or not 400 <= http_status < 500:
        return None
    return BY_HTTP_STATUS.get(http_status, Complaint.REFUSED)


def retry_after(answer: Object, headers: Mapping[str, str]) -> float | None:
    """Seconds to wait: `retry_after` in the body, else the `Retry-After` header, whose date form counts from `Date`."""
    named = members.number(answer.get("retry_after"))
    if named is not None:
        return named
    lower = {name.lower(): value for name, value in headers.items()}
    header = lower.get("retry-after", "")
    seconds = members.number(header)
    return _until(header, lower.get("date", "")) if seconds is None else seconds


def _until(instant: str, now: str) -> float | None:
    try:
        return max(0.0, (parsedate_to_datetime(instant) - parsedate_to_datetime(now)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None
