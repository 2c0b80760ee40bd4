"""How a job, its pictures and an event look outside, as the public contract names them: one shape for every answer and
for the webhooks that we send. Reads; nothing here writes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection

from webhook_app.domain.estimates import queued_ready_at, running_ready_at
from webhook_app.domain.job import TERMINAL, ArchiveStatus, ImageStatus, Status, WaitingFor
from webhook_app.flows.expect import NOTHING_KNOWN, Outlook
from webhook_app.store import reads

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
EVENT_MEMBERS = ("event_id", "seq", "type", "track_id", "batch_id", "client_id", "actor", "created_at", "data")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where things are found from outside: this installation's `public_url`, and a picture's address by its id at that
    moment."""

    public_url: str
    image_url: Callable[[str, datetime], str]
    outlook: Outlook = NOTHING_KNOWN


def dumps(value: Any) -> bytes:
    """JSON in UTF-8. Aware datetimes become RFC 3339 with `Z`."""
    return orjson.dumps(value, option=orjson.OPT_UTC_Z)


def jobs(
    connection: Connection, rows: Sequence[dict[str, Any]], addresses: Addresses, *, now: datetime
) -> list[dict[str, Any]]:
    """The jobs as answers show them, in the same order: six queries however many they are."""
    images = reads.images_of(connection, [row["track_id"] for row in rows])
    due = reads.next_action_at(connection, rows)
    sent = reads.sent(connection, rows)
    whole = [
        reads.JobWithImages(row, images[key], due.get(key), *sent.get(key, (None, None)))
        for row in rows
        if (key := row["track_id"])
    ]
    return found(connection, whole, addresses, now=now)


def found(
    connection: Connection, jobs: Sequence[reads.JobWithImages], addresses: Addresses, *, now: datetime
) -> list[dict[str, Any]]:
    """Jobs that were read with their pictures. Nothing more is asked of those that are not queued."""
    rows = [each.job for each in jobs]
    places = reads.queue_positions(connection, rows)
    waits = [_waits_in_the_queue(row, now) for row in rows]
    paused = reads.paused_providers(connection, now) if any(waits) else {}
    return [
        job(
            each.job | ({"waiting_for": WaitingFor.PROVIDER_PAUSED.value} if stopped else {}),
            each.images,
            addresses,
            next_action_at=paused[each.job["provider"]] if stopped else each.next_action_at,
            queue_position=places.get(each.job["track_id"]),
            eta_at=ready_at(each, places.get(each.job["track_id"]), paused, addresses.outlook, now=now),
            now=now,
        )
        for each, queued in zip(jobs, waits, strict=True)
        for stopped in [queued and each.job["provider"] in paused]
    ]


def under_way(whole: reads.JobWithImages, addresses: Addresses, *, now: datetime) -> dict[str, Any]:
    """A job that has left the queue, or has ended: nothing more is asked of it."""
    return job(
        whole.job,
        whole.images,
        addresses,
        next_action_at=whole.next_action_at,
        queue_position=None,
        eta_at=ready_at(whole, None, {}, addresses.outlook, now=now),
        now=now,
    )


def _waits_in_the_queue(row: dict[str, Any], now: datetime) -> bool:
    """It would be sent, had its provider a free slot: a pause is what it waits for then, and no row is written for
    that. So it is for a retry whose time has come."""
    retries: bool = row["waiting_for"] == WaitingFor.RETRY_AT and row["due_at"] is not None and row["due_at"] <= now
    return retries or bool(row["waiting_for"] == WaitingFor.PROVIDER_SLOT)


def ready_at(
    whole: reads.JobWithImages,
    place: int | None,
    paused: Mapping[str, datetime | None],
    outlook: Outlook,
    *,
    now: datetime,
) -> datetime | None:
    """When the job will have succeeded as far as anybody knows; None where nobody does, and when it has ended."""
    job = whole.job
    if job["status"] in TERMINAL or job["unconfirmed_since"] is not None:
        return None
    expected = outlook.of(job)
    if job["status"] != Status.QUEUED:
        return running_ready_at(whole.sent_at, expected, whole.eta_s, now=now)
    resumed_at = paused.get(job["provider"], now)
    if resumed_at is None:
        return None
    begins_at = max(job["due_at"] or now, resumed_at, now)
    return queued_ready_at(begins_at, place, expected, outlook.everyone(), slots=outlook.slots)


def job(
    row: dict[str, Any],
    images: list[dict[str, Any]],
    addresses: Addresses,
    *,
    next_action_at: datetime | None,
    queue_position: int | None,
    eta_at: datetime | None = None,
    now: datetime,
) -> dict[str, Any]:
    """The job as every answer shows it, less than 20 kB: where the provider's echo or a prompt is too long for that,
    it is shortened here (the row keeps all of it)."""
    shown = (
        {name: row[name] for name in (*JOB_MEMBERS, *PROVIDER_MEMBERS)}
        | {
            "images": [image(each, url=addresses.image_url(each["image_id"], now)) for each in images],
            "archive_status": row["archive_status"],
            "flags": row["flags"],
            "error": row["error"],
            "generation_time_s": row["generation_time_s"],
            "waiting_for": row["waiting_for"],
            "next_action_at": next_action_at,
            "queue_position": queue_position,
            "eta_at": eta_at,
            "unconfirmed_since": row["unconfirmed_since"],
        }
        | {name: row[name] for name in (*REQUEST_MEMBERS, *FAMILY_MEMBERS, *INSTANTS)}
        | {"urls": _urls(row["track_id"], addresses.public_url)}
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


def batch_url(batch_id: str, public_url: str) -> str:
    """Where the batch is read."""
    return f"{public_url}/v1/batches/{batch_id}"


def batch(found: reads.BatchRow, addresses: Addresses) -> dict[str, Any]:
    """A batch and how many of its jobs stand how."""
    here = batch_url(found.row.batch_id, addresses.public_url)
    jobs_url = f"{addresses.public_url}/v1/jobs?batch_id={found.row.batch_id}"
    return {
        "batch_id": found.row.batch_id,
        "client_id": found.row.client_id,
        "created_by": found.row.created_by,
        "jobs": found.row.jobs,
        "counts": found.counts,
        "archiving": found.archiving,
        "created_at": found.row.created_at,
        "completed_at": found.row.completed_at,
        "urls": {"get": here, "cancel": f"{here}/cancel", "jobs": jobs_url},
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
