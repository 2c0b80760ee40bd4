"""One tree of errors. A class fixes code, HTTP status and whether the same request may succeed later;
`web/errors.py` translates once, into problem+json."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, ClassVar


class ErrorCode(StrEnum):
    """Why a job ended otherwise than asked (interface.md 2)."""

    INVALID_INPUT = "invalid_input"
    PROVIDER_AUTH = "provider_auth"
    PROVIDER_QUOTA = "provider_quota"
    PROVIDER_REFUSED = "provider_refused"
    GENERATION_FAILED = "generation_failed"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    SUBMIT_UNCONFIRMED = "submit_unconfirmed"
    NO_RESULT = "no_result"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True, order=True)
class JobError:
    """A job's `error` member. Ordered, so that of two equally strong reports the same one wins whichever came first."""

    code: ErrorCode
    message: str
    retryable: bool = False
    provider_message: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "code": self.code.value,
            "message": self.message,
            "retryable": self.retryable,
            "provider_message": self.provider_message,
        }

    def with_code(self, code: ErrorCode, message: str) -> "JobError":
        return replace(self, code=code, message=message)


class ProblemError(Exception):
    """The root. `detail` is safe to show to a client; `pointer` names the field (RFC 6901) where one is to blame."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, *, pointer: str | None = None, retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.errors: list[dict[str, str]] = [] if pointer is None else [{"pointer": pointer, "message": detail}]


class MalformedJson(ProblemError):
    code, status, title = "malformed_json", 400, "The body is not JSON"


class Unauthenticated(ProblemError):
    code, status, title = "unauthenticated", 401, "No valid API key"


class InsufficientScope(ProblemError):
    code, status, title = "insufficient_scope", 403, "The API key's scopes do not allow this"


class LinkNotValid(ProblemError):
    code, status, title = "link_not_valid", 403, "The picture's address is not signed, or has ended"


class NotFound(ProblemError):
    code, status, title = "not_found", 404, "Not found"


class ImageNotReady(ProblemError):
    code, status, title = "image_not_ready", 404, "The picture does not exist yet"


class MethodNotAllowed(ProblemError):
    code, status, title = "method_not_allowed", 405, "Method not allowed"


class JobAlreadyEnded(ProblemError):
    code, status, title = "job_already_ended", 409, "The job has already ended"


class NotOnHold(ProblemError):
    code, status, title = "not_on_hold", 409, "The job waits for nobody's decision"


class CursorAhead(ProblemError):
    code, status, title = "cursor_ahead", 409, "The cursor lies beyond the end of the log"


class IdempotencyInProgress(ProblemError):
    code, status, title = "idempotency_in_progress", 409, "The first request with this Idempotency-Key is still running"


class EndpointNotActive(ProblemError):
    code, status, title = "endpoint_not_active", 409, "No active endpoint has this URL"


class Erased(ProblemError):
    code, status, title = "erased", 410, "Erased"


class Gone(ProblemError):
    code, status, title = "gone", 410, "Gone"


class TooLarge(ProblemError):
    code, status, title = "too_large", 413, "The body is too large"


class UnsupportedMediaType(ProblemError):
    code, status, title = "unsupported_media_type", 415, "Unsupported media type"


class InvalidField(ProblemError):
    code, status, title = "invalid_field", 422, "A field is not valid"


class UnknownField(ProblemError):
    code, status, title = "unknown_field", 422, "A field is not known"


class IdempotencyMismatch(ProblemError):
    code, status, title = "idempotency_mismatch", 422, "This Idempotency-Key was used with another body"


class TooManyWaiters(ProblemError):
    code, status, title = "too_many_waiters", 429, "Too many requests are waiting"


class RateLimited(ProblemError):
    code, status, title = "rate_limited", 429, "Too many requests"


class DatabaseUnavailable(ProblemError):
    code, status, title = "database_unavailable", 503, "The database cannot be reached"


class DatabaseBusy(DatabaseUnavailable):
    """The database answers, but a lock was not to be had in time, or two waited for each other."""


class ArchiveUnavailable(ProblemError):
    code, status, title = "archive_unavailable", 503, "The picture cannot be read now"


class Internal(ProblemError):
    """Anything unforeseen; the log has the details under the request_id."""


class Unstorable(Exception):
    """The database refuses these values and always will: a number too large for its column, a broken promise."""


class FetchError(Exception):
    """A download failed. `retryable` False means that asking again cannot help; `reason` is a short enum-like word."""

    def __init__(self, reason: str, *, retryable: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retryable = retryable


class NotAPicture(FetchError):
    """The bytes are not a whole PNG, JPEG or WebP picture within the limits."""


class StorageError(Exception):
    """The archive could not read or write; nothing half-written is visible."""


class NotAnObject(StorageError):
    """Something lies in an object's place that is none: a link, a pipe, a directory."""
