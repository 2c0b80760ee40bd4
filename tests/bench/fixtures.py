"""What a measurement needs in the database, what it sends, and the check afterwards that nothing was lost."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, insert, select

from tests.bench.requests import Requests
from webhook_app.domain.ids import new_id, new_track_id
from webhook_app.domain.job import Scope
from webhook_app.domain.tokens import Tokens
from webhook_app.flows.keys import create_key
from webhook_app.store.engine import Store
from webhook_app.store.keys import ensure_client
from webhook_app.store.tables import Attempt, Callback, EventRow, Image, Job

PICTURE = "https://pub-3626123a908346a7a8be8d9295f44e26.r2.dev/generations"


def _job(track_id: str, client_id: str, now: datetime) -> dict[str, Any]:
    return {
        "track_id": track_id,
        "client_id": client_id,
        "created_by": "key_bench",
        "provider": "modelslab",
        "model": "flux/text2img",
        "input": {"prompt": "a lighthouse at dawn, film grain", "width": 768, "height": 1024, "samples": 1, "seed": 7},
        "seed": 7,
        "samples": 1,
        "metadata": {},
        "tags": [],
        "priority": 0,
        "timeout_s": 900,
        "status": "processing",
        "attempt": 1,
        "spent": 1,
        "waiting_for": "callback",
        "provider_meta": {},
        "archive_status": "none",
        "flags": [],
        "created_at": now,
        "submitted_at": now,
        "deadline_at": now + timedelta(seconds=900),
    }


def make_jobs(store: Store, count: int) -> list[str]:
    """Insert jobs that were submitted and wait for their callback; returns their track_ids."""
    now = datetime.now(UTC)
    ids = [new_track_id() for _ in range(count)]
    with store.writing() as connection:
        client_id = ensure_client(connection, client_id=new_id("cli"), name="bench", now=now)
        connection.execute(insert(Job), [_job(track_id, client_id, now) for track_id in ids])
        sent = {"n": 1, "sends": 1, "evidence": "running", "sent_at": now, "provider_job_id": "1"}
        connection.execute(insert(Attempt), [sent | {"track_id": track_id} for track_id in ids])
        picture = {"index": 0, "status": "pending", "sources": [], "flags": []}
        rows = [picture | {"track_id": track_id, "image_id": new_id("img")} for track_id in ids]
        connection.execute(insert(Image), rows)
    return ids


def callback_for(track_id: str, number: int) -> str:
    """A success as the provider sends it, a fresh body for every job."""
    output = f"{PICTURE}/{track_id}-0.png"
    meta = {"model_id": "flux", "seed": 2611448049 + number, "width": 768, "height": 1024, "id": str(number)}
    return json.dumps(
        {
            "status": "success",
            "id": number,
            "track_id": track_id,
            "output": [output],
            "proxy_links": [
                output.replace("pub-3626123a908346a7a8be8d9295f44e26.r2.dev", "cdn2.stablediffusionapi.com")
            ],
            "generationTime": 3.41,
            "nsfw_content_detected": False,
            "webhook_status": "",
            "meta": meta,
        }
    )


def path_for(tokens: Tokens, track_id: str) -> str:
    """Where the provider would call back."""
    return f"/callbacks/modelslab/{track_id}/{tokens.callback('modelslab', track_id, 1)}"


def unsealed(store: Store) -> int:
    """The sealer's lag in events."""
    with store.reading() as connection:
        return int(connection.scalar(select(func.count()).where(EventRow.seq.is_(None))) or 0)


def check_callbacks(store: Store, ids: list[str]) -> None:
    """Every one of these jobs moved exactly once, and every callback is on record."""
    first, last = min(ids), max(ids)  # Track ids follow time: no other job's lies between.
    with store.reading() as connection:
        moved = select(func.count()).where(Job.track_id.between(first, last), Job.status == "succeeded")
        kept = select(func.count()).where(Callback.track_id.between(first, last), Callback.verdict == "applied")
        jobs = connection.scalar(moved.where(Job.version == 2))
        callbacks = connection.scalar(kept.where(Callback.times_seen == 1))
    if (jobs, callbacks) != (len(ids), len(ids)):
        raise SystemExit(f"something was lost: {len(ids)} callbacks, {callbacks} on record, {jobs} jobs moved")


def make_key(store: Store) -> str:
    """An API key that may submit and read its own jobs; the jobs of `make_jobs` are among them."""
    scopes = [Scope.SUBMIT, Scope.READ]
    return create_key(store, client="bench", name="bench", scopes=scopes, now=datetime.now(UTC))[1]


def submits(key: str, count: int, reference: str) -> Requests:
    """As many different jobs, with this reference."""
    bodies = [
        json.dumps(
            {
                "input": {"prompt": f"a lighthouse at dawn, number {n}", "width": 768, "height": 1024, "seed": n},
                "reference": reference,
                "metadata": {"campaign": "spring"},
                "tags": ["bench"],
            }
        )
        for n in range(count)
    ]
    return Requests("POST", ["/v1/jobs"] * count, bodies, {"Authorization": f"Bearer {key}"}, answer=202)


def check_submits(store: Store, reference: str, count: int) -> None:
    """Every answered submit is on record, queued, with its one event."""
    with store.reading() as connection:
        queued = connection.scalar(select(func.count()).where(Job.reference == reference, Job.status == "queued"))
        of_these = select(func.count()).join_from(EventRow, Job, EventRow.track_id == Job.track_id)
        told = connection.scalar(of_these.where(Job.reference == reference, EventRow.type == "job.queued"))
    if (queued, told) != (count, count):
        raise SystemExit(f"something was lost: {count} submits, {queued} on record, {told} events")
