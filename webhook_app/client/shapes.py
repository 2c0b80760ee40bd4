"""The answers of a server, as types. A server of a later version may say more: what is not named here is ignored."""

from typing import Any, Literal, NotRequired, TypedDict

Until = Literal["terminal", "archived"]
Mode = Literal["any", "all"]
Decision = Literal["repeat", "fail"]
Seed = Literal["same", "new"] | int


class Fault(TypedDict):
    """Why a job ended otherwise than asked."""

    code: str
    message: str
    retryable: bool
    provider_message: str | None


class Image(TypedDict):
    """One picture of a job. Its URL is fixed at submit and lasts. Instants are RFC 3339 in UTC."""

    image_id: str
    index: int
    url: str
    thumbnail_url: str
    status: str
    content_type: str | None
    bytes: int | None
    sha256: str | None
    width: int | None
    height: int | None
    flags: list[str]
    reason: str | None
    source_url: str | None
    source_expires_at: str | None
    archived_at: str | None


class Job(TypedDict):
    """A job: what was asked, how it stands, and its pictures. Instants are RFC 3339 in UTC."""

    track_id: str
    number: int
    status: str
    previous_status: str | None
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
    images: list[Image]
    archive_status: str
    flags: list[str]
    error: Fault | None
    generation_time_s: float | None
    waiting_for: str | None
    next_action_at: str | None
    queue_position: int | None
    eta_at: str | None
    unconfirmed_since: str | None
    reference: str | None
    webhook: str | None
    webhook_events: list[str] | None
    metadata: dict[str, Any]
    tags: list[str]
    priority: int
    timeout_s: int
    batch_id: str | None
    parent_track_id: str | None
    created_at: str
    submitted_at: str | None
    completed_at: str | None
    archived_at: str | None
    deadline_at: str | None
    urls: dict[str, str]


class Event(TypedDict):
    """One line of the log, by its number `seq`. `created_at` is RFC 3339 in UTC."""

    event_id: str
    seq: int
    type: str
    track_id: str | None
    batch_id: str | None
    client_id: str | None
    actor: str
    created_at: str
    data: dict[str, Any]


class Waited(TypedDict):
    """What became of jobs that were waited for. `unknown`: there is no such job of this client, or it is erased."""

    done: list[Job]
    pending: list[str]
    unknown: list[str]


class Step(TypedDict):
    """One line of a timeline; `type` is the event's, None for what no event tells."""

    at: str
    what: str
    type: str | None


class Explanation(TypedDict):
    """Why a job stands where it stands. The words are for people and may change."""

    track_id: str
    status: str
    waiting_for: str | None
    verdict: str
    next_step: str
    next_at: str | None
    timeline: list[Step]


class NewBatch(TypedDict):
    """A batch that was taken in; `track_ids` in the order of the jobs that were asked for."""

    batch_id: str
    track_ids: list[str]


class Batch(TypedDict):
    """A batch: how many `jobs` it has, how many of them have each status, and how many have pictures that are still to
    be copied. Instants are RFC 3339 in UTC."""

    batch_id: str
    client_id: str
    created_by: str
    jobs: int
    counts: dict[str, int]
    archiving: int
    created_at: str
    completed_at: str | None
    urls: dict[str, str]


class Erasure(TypedDict):
    """How far an erasure is, of one job or of many. Instants are RFC 3339 in UTC."""

    erasure_id: str
    status: str
    track_id: str | None
    client_id: str | None
    matched: int
    erased: int
    requested_at: str
    requested_by: str
    completed_at: str | None
    provider_copy: str | None


class Erasing(TypedDict):
    """What a filter found; without an id where it was counted only."""

    erasure_id: str | None
    matched: int
    dry_run: bool


class Endpoint(TypedDict):
    """A standing URL; `events` None are the defaults. Instants are RFC 3339 in UTC."""

    endpoint_id: str
    client_id: str
    url: str
    events: list[str] | None
    description: str | None
    disabled_at: str | None
    disabled_reason: str | None
    previous_secret_until: str | None
    recovering_since: str | None
    created_at: str


class NewEndpoint(Endpoint):
    """With its secret."""

    secret: str


class Recovering(TypedDict):
    """What is being sent again."""

    endpoint_id: str
    since: str


class DeliveryAttempt(TypedDict):
    """One try: a status, or the word for why there was none, and how the answer began."""

    attempt: int
    sent_at: str
    duration_ms: int
    status_code: int | None
    error: str | None
    excerpt: str | None


class Delivery(TypedDict):
    """One event on its way to one URL. In a list it has neither `body` nor `attempts`."""

    delivery_id: str
    client_id: str
    endpoint_id: str | None
    event_id: str
    type: str
    track_id: str | None
    batch_id: str | None
    url: str | None
    status: str
    reason: str | None
    attempt_count: int
    created_at: str
    next_attempt_at: str | None
    finished_at: str | None
    body: NotRequired[str | None]
    attempts: NotRequired[list[DeliveryAttempt]]
