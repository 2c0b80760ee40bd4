"""What a fetch of a job is answered, by its fetch form."""

from collections.abc import Callable
from typing import Any

from webhook_app.emulator import bodies, pages
from webhook_app.emulator.job import Job, JobState
from webhook_app.emulator.shaping import shaped
from webhook_app.emulator.words import ErrorStyle, FetchForm

UNKNOWN_ID = {"status": "error", "message": "Request not found"}
CALL_FAILED = {"status": "error", "message": "Internal server error"}
WITHOUT_PICTURES = 2

Answer = tuple[dict[str, Any] | str, int]


def answer_to_fetch(job: Job | None, *, another: Callable[[Job], Job], style: str) -> Answer:
    """Body and HTTP status; a string is an HTML page. `another` finds a finished job that is not the given one.

    An unknown id is HTTP 200 in both styles: no page documents a code for it.
    """
    if job is None:
        return UNKNOWN_ID, 200
    body, http_status = _answer(job, another, style)
    return (shaped(body, job.fate.shape) if isinstance(body, dict) else body), http_status


def _answer(job: Job, another: Callable[[Job], Job], style: str) -> Answer:
    match job.fate.fetch_form:
        case FetchForm.THIN:
            return bodies.fetched(job), 200
        case FetchForm.PROCESSING:
            return bodies.still_processing(), 200
        case FetchForm.UNKNOWN:
            return UNKNOWN_ID, 200
        case FetchForm.OTHER_JOB:
            return bodies.fetched(another(job)), 200
        case FetchForm.HTML:
            return pages.SERVER_ERROR, 200
        case FetchForm.MISSING_PICTURES:
            return _without_pictures_first(job), 200
        case FetchForm.ERROR:
            return CALL_FAILED, 200 if style == ErrorStyle.LEGACY else 500


def _without_pictures_first(job: Job) -> dict[str, Any]:
    body = bodies.fetched(job)
    if job.state is not JobState.SUCCESS:
        return body
    job.fetches += 1
    return body | ({"output": [], "proxy_links": []} if job.fetches <= WITHOUT_PICTURES else {})
