"""The shape of the tables and the promises that the database keeps by itself (design.md, section 4)."""

from webhook_app.store.tables.accounts import ApiKey, Client, IdempotencyKey
from webhook_app.store.tables.base import Base, TrackId
from webhook_app.store.tables.batches import Batch
from webhook_app.store.tables.jobs import Attempt, Callback, Job
from webhook_app.store.tables.log import CounterRow, EventRow, LogHead, LogRow, SigningKey
from webhook_app.store.tables.pictures import Blob, Erasure, Image
from webhook_app.store.tables.providers import ProviderState, Slot
from webhook_app.store.tables.webhooks import Delivery, DeliveryAttempt, Endpoint, Receiver, WebhookSecret

__all__ = [
    "ApiKey",
    "Attempt",
    "Base",
    "Batch",
    "Blob",
    "Callback",
    "Client",
    "CounterRow",
    "Delivery",
    "DeliveryAttempt",
    "Endpoint",
    "Erasure",
    "EventRow",
    "IdempotencyKey",
    "Image",
    "Job",
    "LogHead",
    "LogRow",
    "ProviderState",
    "Receiver",
    "SigningKey",
    "Slot",
    "TrackId",
    "WebhookSecret",
]
