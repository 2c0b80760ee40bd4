"""The shapes of what we say about our webhooks, for `/openapi.json`."""

from datetime import datetime

from webhook_app.domain.events import EventType
from webhook_app.domain.webhooks import DeliveryStatus, Reason
from webhook_app.web.answers import ListAnswer, Shown


class EndpointAnswer(Shown):
    """A client's standing URL; `events` null are the defaults. `previous_secret_until` is how long the secret before
    the last rotation signs too."""

    endpoint_id: str
    client_id: str
    url: str
    events: list[EventType] | None
    description: str | None
    disabled_at: datetime | None
    disabled_reason: str | None
    previous_secret_until: datetime | None
    recovering_since: datetime | None
    created_at: datetime


class NewEndpointAnswer(EndpointAnswer):
    """With its new secret, which is shown here and never again."""

    secret: str


class SecretAnswer(Shown):
    """What verifies the webhooks that jobs name themselves."""

    key: str


class DeliveryAnswer(Shown):
    """One event on its way to one URL. `endpoint_id` null: the job itself names the URL. `url` is null once the job is
    erased; `next_attempt_at` while it is not pending."""

    delivery_id: str
    client_id: str
    endpoint_id: str | None
    event_id: str
    type: str
    track_id: str | None
    batch_id: str | None
    url: str | None
    status: DeliveryStatus
    reason: Reason | None
    attempt_count: int
    created_at: datetime
    next_attempt_at: datetime | None
    finished_at: datetime | None


class DeliveryAttemptAnswer(Shown):
    """One try: a status, or the word for why there was none, and how the answer began."""

    attempt: int
    sent_at: datetime
    duration_ms: int
    status_code: int | None
    error: str | None
    excerpt: str | None


class WholeDeliveryAnswer(DeliveryAnswer):
    """With the body as it is sent (null once the job is erased), and every try."""

    body: str | None
    attempts: list[DeliveryAttemptAnswer]


class RecoveringAnswer(Shown):
    """What is being sent again."""

    endpoint_id: str
    since: datetime


EndpointList = ListAnswer[EndpointAnswer]
DeliveryList = ListAnswer[DeliveryAnswer]
