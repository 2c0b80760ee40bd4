"""How rows look outside, as the public contract names them: an attempt, a callback, a provider, an erasure, a key.
Jobs, pictures and events are shown by `flows/show`, as webhooks carry them too."""

import base64
from typing import Any

ERASURE_MEMBERS = ("erasure_id", "status", "track_id", "client_id", "matched", "erased", "provider_copy")
ERASURE_CIRCUMSTANCES = ("requested_at", "requested_by", "completed_at")
CALLBACK_MEMBERS = ("callback_id", "provider", "track_id", "attempt", "sha256", "times_seen", "verdict", "problem")
CALLBACK_CIRCUMSTANCES = ("remote_addr", "received_at", "last_seen_at", "applied_at")


def etag(row: dict[str, Any]) -> str:
    """A job's ETag, without quotes: its version, which every change of the job or of its pictures raises."""
    return f"{row['track_id']}.{row['version']}"


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


def endpoint(row: dict[str, Any]) -> dict[str, Any]:
    """An endpoint, without its secrets."""
    members = ("endpoint_id", "client_id", "url", "events", "description", "disabled_at", "disabled_reason")
    times = {"previous_secret_until": row["previous_until"], "recovering_since": row["recover_since"]}
    return {name: row[name] for name in members} | times | {"created_at": row["created_at"]}


def delivery(row: dict[str, Any]) -> dict[str, Any]:
    """A delivery, without what is in it."""
    members = ("delivery_id", "client_id", "endpoint_id", "event_id", "type", "track_id", "batch_id", "url", "status")
    times = {"next_attempt_at": row["due_at"], "finished_at": row["finished_at"]}
    counted = {"reason": row["reason"], "attempt_count": row["attempts"], "created_at": row["created_at"]}
    return {name: row[name] for name in members} | counted | times


def delivery_attempt(row: dict[str, Any]) -> dict[str, Any]:
    """One try of a delivery."""
    members = ("sent_at", "duration_ms", "status_code", "error", "excerpt")
    return {"attempt": row["n"]} | {name: row[name] for name in members}
