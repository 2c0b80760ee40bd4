"""How rows look outside: a job, a picture, an event, an attempt, a callback, as the public contract names them."""

import base64
from collections.abc import Callable
from datetime import datetime
from typing import Any

from webhook_app.domain.job import ArchiveStatus, ImageStatus
from webhook_app.web.respond import dumps

LARGEST_JOB = 19_500  # The contract promises less than 20 kB.
LONGEST_SOURCE_URL = 2_048
SHORTENED = ("negative_prompt", "prompt", "init_image")
JOB_MEMBERS = (
    "track_id",
    "number",
    "status",
    "previous_status",
    "provider",
    "model",
    "client_id",
    "created_by",
    "input",
)
PROVIDER_MEMBERS = ("seed", "attempt", "provider_job_id", "provider_status", "provider_meta")
REQUEST_MEMBERS = ("reference", "webhook", "webhook_events", "metadata", "tags", "priority", "timeout_s")
FAMILY_MEMBERS = ("batch_id", "parent_track_id")
INSTANTS = ("created_at", "submitted_at", "completed_at", "archived_at", "deadline_at")
ERASURE_MEMBERS = ("erasure_id", "status", "track_id", "client_id", "matched", "erased", "provider_copy")
ERASURE_CIRCUMSTANCES = ("requested_at", "requested_by", "completed_at")
EVENT_MEMBERS = ("event_id", "seq", "type", "track_id", "batch_id", "client_id", "actor", "created_at", "data")
CALLBACK_MEMBERS = ("callback_id", "provider", "track_id", "attempt", "sha256", "times_seen", "verdict", "problem")
CALLBACK_CIRCUMSTANCES = ("remote_addr", "received_at", "last_seen_at", "applied_at")


def etag(row: dict[str, Any]) -> str:
    """A job's ETag, without quotes: its version, which every change of the job or of its pictures raises."""
    return f"{row['track_id']}.{row['version']}"


def job(
    row: dict[str, Any],
    images: list[dict[str, Any]],
    *,
    public_url: str,
    image_url: Callable[[str], str],
    next_action_at: datetime | None,
    queue_position: int | None,
) -> dict[str, Any]:
    """The job as every answer shows it, less than 20 kB: where the provider's echo or a prompt is too long for that,
    it is shortened here (the row keeps all of it)."""
    shown = (
        {name: row[name] for name in (*JOB_MEMBERS, *PROVIDER_MEMBERS)}
        | {
            "images": [image(each, url=image_url(each["image_id"])) for each in images],
            "archive_status": row["archive_status"],
            "flags": row["flags"],
            "error": row["error"],
            "generation_time_s": row["generation_time_s"],
            "waiting_for": row["waiting_for"],
            "next_action_at": next_action_at,
            "queue_position": queue_position,
            "eta_at": None,
            "unconfirmed_since": row["unconfirmed_since"],
        }
        | {name: row[name] for name in (*REQUEST_MEMBERS, *FAMILY_MEMBERS, *INSTANTS)}
        | {"urls": _urls(row["track_id"], public_url)}
    )
    return _fitted(shown)


def job_url(track_id: str, public_url: str) -> str:
    """Where the job is read."""
    return f"{public_url}/v1/jobs/{track_id}"


def _urls(track_id: str, public_url: str) -> dict[str, str]:
    here = job_url(track_id, public_url)
    return {
        "get": here,
        "cancel": f"{here}/cancel",
        "rerun": f"{here}/rerun",
        "events": f"{here}/events",
        "stream": f"{public_url}/v1/events/stream?track_id={track_id}",
        "web": f"{public_url}/jobs/{track_id}",
    }


def _fitted(shown: dict[str, Any]) -> dict[str, Any]:
    if len(dumps(shown)) <= LARGEST_JOB:
        return shown
    shown = shown | {"provider_meta": {}, "input": dict(shown["input"])}
    for name in SHORTENED:
        too_much = len(dumps(shown)) - LARGEST_JOB
        text = shown["input"].get(name)
        if too_much > 0 and isinstance(text, str):
            kept = max(len(text.encode()) - too_much - 8, 200)
            shown["input"][name] = text.encode()[:kept].decode(errors="ignore") + "…"
    return shown


def image(row: dict[str, Any], *, url: str) -> dict[str, Any]:
    """A picture, with the facts of its archived bytes where there are any."""
    return {
        "image_id": row["image_id"],
        "index": row["index"],
        "url": url,
        "thumbnail_url": f"{url}{'&' if '?' in url else '?'}size=256",
        "status": row["status"],
        "content_type": row["content_type"],
        "bytes": row["bytes"],
        "sha256": row["sha256"],
        "width": row["width"],
        "height": row["height"],
        "flags": row["flags"],
        "reason": row["reason"],
        "source_url": _source_url(row),
        "source_expires_at": row["source_expires_at"],
        "archived_at": row["archived_at"],
    }


def _source_url(row: dict[str, Any]) -> str | None:
    if row["status"] in (ImageStatus.ERASED, ArchiveStatus.ERASED):
        return None
    # A picture that came inline (`data:`) has no address.
    urls = [url for url in (row["source_url"], *row["sources"]) if url and url.startswith(("https://", "http://"))]
    return next((url for url in urls if len(url) <= LONGEST_SOURCE_URL), None)


def event(row: dict[str, Any]) -> dict[str, Any]:
    """An event. `seq` is null for the moment between its commit and its sealing."""
    return {name: row[name] for name in EVENT_MEMBERS}


def attempt(row: dict[str, Any]) -> dict[str, Any]:
    """One submit of the job to the provider."""
    members = (
        "sends",
        "worker",
        "sent_at",
        "answered_at",
        "provider_job_id",
        "evidence",
        "evidence_at",
        "error",
        "note",
    )
    polling = ("eta_s", "unconfirmed_at", "poll_at", "polls", "polled_at")
    return {"attempt": row["n"]} | {name: row[name] for name in (*members, *polling)}


def received(row: dict[str, Any]) -> dict[str, Any]:
    """What is known of a callback, without what was in it."""
    return {name: row[name] for name in (*CALLBACK_MEMBERS, "content_type", *CALLBACK_CIRCUMSTANCES)}


def callback(row: dict[str, Any]) -> dict[str, Any]:
    """What the provider sent, raw, and what was made of it. `body` is text, or base64 where it is not UTF-8."""
    body, encoding = _text_or_base64(row["body"])
    return (
        {name: row[name] for name in CALLBACK_MEMBERS}
        | {"body": body, "body_encoding": encoding, "content_type": row["content_type"], "headers": row["headers"]}
        | {name: row[name] for name in CALLBACK_CIRCUMSTANCES}
    )


def _text_or_base64(body: bytes | None) -> tuple[str | None, str | None]:
    if body is None:
        return None, None
    try:
        return body.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), "base64"


def provider(row: dict[str, Any], *, max_in_flight: int) -> dict[str, Any]:
    """A provider's slots, its pause (null while there is none), and its jobs."""
    pause = {name: row[name] for name in ("paused_at", "paused_until")}
    return {
        "provider": row["provider"],
        "slots": {"max": max_in_flight, "in_use": row["slots_in_use"]},
        "paused": pause | {"reason": row["paused_reason"], "by": row["paused_by"]} if row["paused_at"] else None,
        "refusals": row["refusals"],
        "queued": row["queued"],
        "in_flight": row["in_flight"],
    }


def erasure(row: dict[str, Any]) -> dict[str, Any]:
    """An erasure, without what it was asked by."""
    return {name: row[name] for name in (*ERASURE_MEMBERS, *ERASURE_CIRCUMSTANCES)}


def key(row: dict[str, Any]) -> dict[str, Any]:
    """An API key, without what would let anybody use it."""
    return {name: row[name] for name in ("key_id", "client_id", "client", "name", "scopes", "created_at", "revoked_at")}


def client(row: dict[str, Any]) -> dict[str, Any]:
    """A client."""
    return {name: row[name] for name in ("client_id", "name", "created_at")}
