"""What every request that makes jobs has in common: the job it asks for, its Idempotency-Key, and room in the queue."""

import hashlib
import json
from typing import Any

from flask import Flask, request

from webhook_app.domain.errors import InvalidField
from webhook_app.flows.accept import Idempotency, JobRequest
from webhook_app.flows.room import QueueRoom
from webhook_app.web.schemas import ImageToImageJob, TextToImageJob, normalised_input
from webhook_app.wiring import Parts

LONGEST_KEY = 255
LOOK_AGAIN_AFTER_S = 2
KEY_HONOURED = {
    "Idempotency-Key": "At most 255 ASCII characters: the same request again with the same key makes nothing twice."
}


def job_request(
    parts: Parts, asked: TextToImageJob | ImageToImageJob, *, parent_track_id: str | None = None
) -> JobRequest:
    """The job as the flows take it in."""
    return JobRequest(
        provider=asked.provider,
        model=asked.model,
        input=normalised_input(asked.input),
        timeout_s=asked.timeout_s or parts.settings.job_timeout_s,
        reference=asked.reference,
        webhook=asked.webhook,
        webhook_events=None if asked.webhook_events is None else [event.value for event in asked.webhook_events],
        metadata=asked.metadata,
        tags=tuple(asked.tags),
        priority=asked.priority,
        parent_track_id=parent_track_id,
    )


def idempotency_of(body: Any) -> Idempotency | None:
    """The request's key and the digest of what it asks for, None without one. The digest is of the JSON's meaning:
    spacing and the order of members do not matter."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not (0 < len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        detail = f"Idempotency-Key must be 1 to {LONGEST_KEY} printable ASCII characters."
        raise InvalidField(detail, pointer="/Idempotency-Key")
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    asked = f"{request.method} {request.path}\n{canonical}"
    return Idempotency(key, hashlib.sha256(asked.encode()).hexdigest())


def room_of(app: Flask, parts: Parts) -> QueueRoom:
    """The application's one count of the room in its clients' queues, made when first asked for."""
    if "room" not in app.extensions:
        app.extensions["room"] = QueueRoom(parts.settings.max_queued)
    found: QueueRoom = app.extensions["room"]
    return found
