"""Whole rows to start from, as the flows make them."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, insert

from webhook_app.domain.ids import new_id, new_track_id
from webhook_app.store.engine import Store
from webhook_app.store.keys import ensure_client
from webhook_app.store.tables import Attempt, Base, Callback, Image, Job

NOW = datetime(2026, 3, 1, 12, 0, 0, 250, tzinfo=UTC)
SHA256 = "ab" * 32


def job(client_id: str, **more: Any) -> dict[str, Any]:
    row = {
        "track_id": new_track_id(),
        "client_id": client_id,
        "created_by": "key_test",
        "provider": "modelslab",
        "model": "flux/text2img",
        "input": {"prompt": "a lighthouse"},
        "samples": 1,
        "metadata": {},
        "tags": [],
        "priority": 0,
        "timeout_s": 900,
        "status": "queued",
        "provider_meta": {},
        "archive_status": "none",
        "flags": [],
        "created_at": NOW,
        "due_at": NOW,
    }
    return row | more


def attempt(track_id: str, **more: Any) -> dict[str, Any]:
    return {"track_id": track_id, "n": 1, "evidence": "none", "sent_at": NOW} | more


def image(track_id: str, **more: Any) -> dict[str, Any]:
    row = {"image_id": new_id("img"), "track_id": track_id, "index": 0, "status": "pending", "sources": [], "flags": []}
    return row | more


def callback(track_id: str, **more: Any) -> dict[str, Any]:
    row = {
        "callback_id": new_id("cb"),
        "provider": "modelslab",
        "track_id": track_id,
        "attempt": 1,
        "sha256": SHA256,
        "headers": {},
        "received_at": NOW,
        "last_seen_at": NOW,
    }
    return row | more


def blob(**more: Any) -> dict[str, Any]:
    row = {
        "sha256": SHA256,
        "state": "stored",
        "content_type": "image/png",
        "bytes": 1,
        "width": 1,
        "height": 1,
        "thumbnails": [],
        "created_at": NOW,
    }
    return row | more


def add(connection: Connection, table: type[Base], row: dict[str, Any]) -> None:
    connection.execute(insert(table), [row])


def make_job(store: Store, client: str = "acme", **more: Any) -> str:
    """A queued job with one picture and a first attempt; returns its track_id."""
    with store.writing() as connection:
        client_id = ensure_client(connection, client_id=new_id("cli"), name=client, now=NOW)
        row = job(client_id, **more)
        add(connection, Job, row)
        add(connection, Attempt, attempt(row["track_id"]))
        add(connection, Image, image(row["track_id"]))
        add(connection, Callback, callback(row["track_id"]))
    track_id: str = row["track_id"]
    return track_id
