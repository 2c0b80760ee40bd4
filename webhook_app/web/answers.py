"""The shapes of our answers, for `/openapi.json`; `representations` fills them, and the tests hold the two together."""

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from webhook_app.domain.advance import Verdict
from webhook_app.domain.erasure import ErasureStatus, ProviderCopy
from webhook_app.domain.errors import ErrorCode
from webhook_app.domain.events import EventType
from webhook_app.domain.job import ArchiveStatus, Evidence, ImageStatus, Scope, Status, WaitingFor

Item = TypeVar("Item")


class Shown(BaseModel):
    """Clients ignore members that they do not know: within v1 we may add some."""

    model_config = ConfigDict(frozen=True)


class FieldFault(Shown):
    pointer: str = Field(
        description="JSON pointer (RFC 6901) into the body, or the name of the parameter after a slash."
    )
    message: str


class Problem(Shown):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    errors: list[FieldFault]


class JobFault(Shown):
    code: ErrorCode
    message: str
    retryable: bool
    provider_message: str | None


class ImageAnswer(Shown):
    """One picture of a job. Its URL is fixed at submit and lasts."""

    image_id: str
    index: int
    url: str
    thumbnail_url: str
    status: ImageStatus
    content_type: str | None
    bytes: int | None
    sha256: str | None
    width: int | None
    height: int | None
    flags: list[str]
    reason: str | None
    source_url: str | None
    source_expires_at: datetime | None
    archived_at: datetime | None


class ImageFacts(ImageAnswer):
    """One picture by itself."""

    track_id: str


class Urls(Shown):
    get: str
    cancel: str
    rerun: str
    events: str
    stream: str
    web: str


class JobAnswer(Shown):
    """A job: what was asked, how it stands, and its pictures."""

    track_id: str
    number: int
    status: Status
    previous_status: Status | None
    provider: str
    model: str
    client_id: str
    created_by: str
    input: dict[str, Any]
    seed: int | None
    attempt: int
    provider_job_id: str | None
    provider_status: str | None
    provider_meta: dict[str, Any]
    images: list[ImageAnswer]
    archive_status: ArchiveStatus
    flags: list[str]
    error: JobFault | None
    generation_time_s: float | None
    waiting_for: WaitingFor | None
    next_action_at: datetime | None
    queue_position: int | None
    eta_at: datetime | None
    unconfirmed_since: datetime | None
    reference: str | None
    webhook: str | None
    webhook_events: list[EventType] | None
    metadata: dict[str, Any]
    tags: list[str]
    priority: int
    timeout_s: int
    batch_id: str | None
    parent_track_id: str | None
    created_at: datetime
    submitted_at: datetime | None
    completed_at: datetime | None
    archived_at: datetime | None
    deadline_at: datetime | None
    urls: Urls


class Step(Shown):
    """One line of a timeline; `type` is the event's, null for what no event tells."""

    at: datetime
    what: str
    type: EventType | None


class ExplanationAnswer(Shown):
    """Why a job stands where it stands. `next_at` null: at no known time."""

    track_id: str
    status: Status
    waiting_for: WaitingFor | None
    verdict: str
    next_step: str
    next_at: datetime | None
    timeline: list[Step]


class NewBatchAnswer(Shown):
    """A batch that was taken in; `track_ids` in the order of the jobs that were asked for."""

    batch_id: str
    track_ids: list[str]


class BatchCounts(Shown):
    queued: int
    submitting: int
    processing: int
    succeeded: int
    failed: int
    canceled: int
    timed_out: int


class BatchUrls(Shown):
    get: str
    cancel: str
    jobs: str


class BatchAnswer(Shown):
    """A batch: how many `jobs` it has, how many of them stand how, and how many have pictures that are still to be
    copied. `completed_at` is when the last one ended, and stays when a failed one turns out well after all."""

    batch_id: str
    client_id: str
    created_by: str
    jobs: int
    counts: BatchCounts
    archiving: int
    created_at: datetime
    completed_at: datetime | None
    urls: BatchUrls


class ErasureAnswer(Shown):
    """An erasure: of one job, or of all that a filter found (then `track_id` is null, and `erased` of `matched` are
    done). `provider_copy` is null until the provider has been asked."""

    erasure_id: str
    status: ErasureStatus
    track_id: str | None
    client_id: str | None
    matched: int
    erased: int
    requested_at: datetime
    requested_by: str
    completed_at: datetime | None
    provider_copy: ProviderCopy | None


class ErasingAnswer(Shown):
    """What a filter found; without an id where it was to be counted only."""

    erasure_id: str | None
    matched: int
    dry_run: bool


class EventAnswer(Shown):
    """One line of the log; `seq` is null for the moment between its commit and its sealing."""

    event_id: str
    seq: int | None
    type: EventType
    track_id: str | None
    batch_id: str | None
    client_id: str | None
    actor: str
    created_at: datetime
    data: dict[str, Any]


class FeedAnswer(Shown):
    """A piece of the log. `next_after` is the last `seq` that was looked at, and `has_more` whether to ask again at
    once."""

    data: list[EventAnswer]
    next_after: int
    has_more: bool
    log_id: str


class AttemptAnswer(Shown):
    """One submit of the job to the provider."""

    attempt: int
    sends: int
    worker: str | None
    sent_at: datetime
    answered_at: datetime | None
    provider_job_id: str | None
    evidence: Evidence
    evidence_at: datetime | None
    error: JobFault | None
    note: str | None
    eta_s: float | None
    unconfirmed_at: datetime | None
    poll_at: datetime | None
    polls: int
    polled_at: datetime | None


class ReceivedAnswer(Shown):
    """What is known of a callback, without what was in it."""

    callback_id: str
    provider: str
    track_id: str
    attempt: int
    sha256: str
    times_seen: int
    verdict: Verdict | None
    problem: str | None
    content_type: str | None
    remote_addr: str | None
    received_at: datetime
    last_seen_at: datetime
    applied_at: datetime | None


class CallbackAnswer(ReceivedAnswer):
    """What the provider sent, raw, and what was made of it."""

    body: str | None
    body_encoding: Literal["utf-8", "base64"] | None
    headers: dict[str, Any]


class Change(Shown, Generic[Item]):
    before: Item
    after: Item


class ChangedJob(Shown):
    status: Change[Status]
    archive_status: Change[ArchiveStatus]
    error: Change[JobFault | None]


class ChangedImage(Shown):
    image_id: str
    index: int


class ReplayAnswer(Shown):
    """What reading a callback again changed, or would change: its verdict, its job (null where there is none), the
    pictures that get other sources, and how many events of each type are written."""

    callback_id: str
    track_id: str
    attempt: int
    dry_run: bool
    changed: bool
    verdict: Change[Verdict | None]
    problem: Change[str | None]
    job: ChangedJob | None
    images: list[ChangedImage]
    events: dict[EventType, int]


class SlotCounts(Shown):
    max: int
    in_use: int


class Pause(Shown):
    """Without `paused_until` it lasts until somebody resumes the provider."""

    paused_at: datetime
    paused_until: datetime | None
    reason: str
    by: str


class ProviderAnswer(Shown):
    """How a provider stands. `refusals` counts in a row those that concerned every job."""

    provider: str
    slots: SlotCounts
    paused: Pause | None
    refusals: int
    queued: int
    in_flight: int


class KeyAnswer(Shown):
    """An API key's facts; `client` is its client's name."""

    key_id: str
    client_id: str
    client: str
    name: str
    scopes: list[Scope]
    created_at: datetime
    revoked_at: datetime | None


class NewKeyAnswer(KeyAnswer):
    """A new API key. `key` is shown here and never again."""

    key: str


class ClientAnswer(Shown):
    """Who owns jobs."""

    client_id: str
    name: str
    created_at: datetime


class WaitAnswer(Shown):
    """What became of the jobs that were waited for, each in the order asked. `unknown`: there is no such job of this
    client, or it is erased."""

    done: list[JobAnswer]
    pending: list[str]
    unknown: list[str]


class ListAnswer(Shown, Generic[Item]):
    """A page of a list; `Link: rel="next"` leads on while `has_more`."""

    data: list[Item]
    next_cursor: str | None
    has_more: bool


JobList = ListAnswer[JobAnswer]
BatchList = ListAnswer[BatchAnswer]
EventList = ListAnswer[EventAnswer]
AttemptList = ListAnswer[AttemptAnswer]
CallbackList = ListAnswer[CallbackAnswer]
ReceivedList = ListAnswer[ReceivedAnswer]
ProviderList = ListAnswer[ProviderAnswer]
KeyList = ListAnswer[KeyAnswer]
ClientList = ListAnswer[ClientAnswer]
