"""The states of a job, of an attempt and of a picture, and the words that go with them (interface.md 2)."""

from enum import StrEnum


class Status(StrEnum):
    QUEUED = "queued"
    SUBMITTING = "submitting"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    TIMED_OUT = "timed_out"


TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELED, Status.TIMED_OUT})
IN_FLIGHT = frozenset({Status.SUBMITTING, Status.PROCESSING})

MAY_ENTER: dict[Status, frozenset[Status]] = {
    # Back to queued: no room at the provider, "Try Again", or a submit that provably was not sent.
    Status.QUEUED: frozenset({Status.SUBMITTING, Status.PROCESSING}),
    Status.SUBMITTING: frozenset({Status.QUEUED}),
    # From queued: news of an attempt that was given up, while the next one waits for its turn.
    Status.PROCESSING: frozenset({Status.SUBMITTING, Status.QUEUED}),
    # Evidence wins: a late success undoes a failure or a time-out, nothing undoes a success.
    Status.SUCCEEDED: frozenset({Status.QUEUED, Status.SUBMITTING, Status.PROCESSING, Status.FAILED, Status.TIMED_OUT}),
    Status.FAILED: frozenset({Status.QUEUED, Status.SUBMITTING, Status.PROCESSING}),
    Status.CANCELED: frozenset({Status.QUEUED, Status.SUBMITTING, Status.PROCESSING}),
    Status.TIMED_OUT: frozenset({Status.QUEUED, Status.SUBMITTING, Status.PROCESSING}),
}


class Evidence(StrEnum):
    """What is known about one attempt. An attempt's state is the strongest evidence, whenever it arrived."""

    NONE = "none"
    NOT_SENT = "not_sent"
    DECLINED = "declined"
    RUNNING = "running"
    RETRYABLE = "retryable"
    PERMANENT = "permanent"
    SUCCESS = "success"


STRENGTH = {evidence: rank for rank, evidence in enumerate(Evidence)}
# The provider did nothing for these: the same attempt is sent again, and it is not counted.
RESENDABLE = frozenset({Evidence.NOT_SENT, Evidence.DECLINED})


class WaitingFor(StrEnum):
    """Why a job stands still now; None in an answer when nothing is awaited."""

    PROVIDER_SLOT = "provider_slot"
    PROVIDER_PAUSED = "provider_paused"
    RETRY_AT = "retry_at"
    CONFIRMATION = "confirmation"
    CALLBACK = "callback"
    ARCHIVE = "archive"


class ImageStatus(StrEnum):
    PENDING = "pending"
    ARCHIVED = "archived"
    LOST = "lost"
    ERASED = "erased"


class ImageFlag(StrEnum):
    """A remark about a picture that did come."""

    BLANK = "blank"
    NEAR_BLANK = "near_blank"
    NSFW = "nsfw"
    WRONG_SIZE = "wrong_size"


class ArchiveStatus(StrEnum):
    NONE = "none"
    PENDING = "pending"
    ARCHIVED = "archived"
    PARTIAL = "partial"
    LOST = "lost"
    ERASED = "erased"


ARCHIVE_SETTLED = frozenset({ArchiveStatus.ARCHIVED, ArchiveStatus.PARTIAL, ArchiveStatus.LOST, ArchiveStatus.ERASED})


class OnUnconfirmed(StrEnum):
    """What becomes of a submit that nothing confirmed in time (`ON_UNCONFIRMED`)."""

    REPEAT = "repeat"
    HOLD = "hold"
    FAIL = "fail"


class Decision(StrEnum):
    """What somebody decides about a submit that nothing confirmed (`resolve`)."""

    REPEAT = "repeat"
    FAIL = "fail"


class Scope(StrEnum):
    SUBMIT = "submit"
    READ = "read"
    ADMIN = "admin"


def archive_status_of(images: list[ImageStatus]) -> ArchiveStatus:
    """The archive state of a succeeded job from the states of its pictures (those beyond what came are left out)."""
    kinds = set(images)
    if not kinds:
        return ArchiveStatus.NONE
    if ImageStatus.PENDING in kinds:
        return ArchiveStatus.PENDING
    if kinds == {ImageStatus.ARCHIVED}:
        return ArchiveStatus.ARCHIVED
    if kinds == {ImageStatus.ERASED}:
        return ArchiveStatus.ERASED
    return ArchiveStatus.PARTIAL if ImageStatus.ARCHIVED in kinds else ArchiveStatus.LOST
