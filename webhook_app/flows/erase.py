"""Erasing jobs, the asking for it: a mark in one transaction makes them gone for everyone, and nothing is applied to
them any more. A worker takes out what they hold afterwards (`flows/forget`)."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from webhook_app.domain.errors import NotFound
from webhook_app.domain.events import Event, EventType
from webhook_app.domain.ids import new_id
from webhook_app.domain.job import TERMINAL
from webhook_app.flows import ending
from webhook_app.store import erasures, events, jobs, reads
from webhook_app.store.engine import Store

BATCH = 500
RETENTION = "retention"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which jobs are to be erased: all conditions hold; None and no metadata do not restrict. `client_id` None is
    everyone's."""

    client_id: str | None
    reference: str | None = None
    tag: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """How many jobs a filter found, and the erasure that takes them; None where it was to be counted only."""

    erasure_id: str | None
    matched: int


def erase_job(store: Store, track_id: str, *, by: str, now: datetime) -> str:
    """Mark one job, which is canceled first if it has not ended. Returns its erasure's id; asked again, the same. `by`
    is the event's actor. Raises `NotFound`."""
    with store.writing() as connection:
        row = jobs.lock(connection, [track_id]).get(track_id)
        if row is None:
            raise NotFound("There is no such job.")
        asked = erasures.of_job(connection, track_id)
        return asked.erasure_id if asked is not None else _mark(connection, [row], by=by, now=now)[0]


def erase_many(store: Store, wanted: Wanted, *, by: str, dry_run: bool, now: datetime) -> Asked:
    """Ask for the erasing of all jobs that a filter finds among those that there are now."""
    stored = _stored(wanted)
    with store.writing() as connection:
        matched = reads.count_jobs(connection, _job_filter(wanted.client_id, stored, now))
        if dry_run:
            return Asked(None, matched)
        digest = hashlib.sha256(json.dumps(stored, sort_keys=True).encode()).hexdigest()
        erasure_id = new_id("ers")
        row = {"erasure_id": erasure_id, "client_id": wanted.client_id, "requested_at": now, "requested_by": by}
        erasures.add(connection, [row | {"filter": stored, "filter_sha256": digest, "matched": matched}])
        return Asked(erasure_id, matched)


def mark_next(connection: Connection, erasure: Row[Any], *, now: datetime) -> int:
    """Mark the next jobs that an erasure's filter finds. Returns how many; 0 where none is left."""
    wanted = _job_filter(erasure.client_id, erasure.filter, erasure.requested_at)
    found = reads.jobs(connection, wanted, limit=BATCH)
    locked = jobs.lock(connection, [row["track_id"] for row in found])
    rows = [row for row in locked.values() if row.erased_at is None]
    _mark(connection, rows, by=erasure.requested_by, parent_id=erasure.erasure_id, now=now)
    return len(found)


def retire(store: Store, *, before: datetime, now: datetime) -> int:
    """Mark jobs that ended before that instant, 500 at most, the oldest first. Returns how many."""
    with store.writing() as connection:
        found = jobs.past_retention(connection, before=before, limit=BATCH)
        locked = jobs.lock(connection, found)
        rows = [row for row in locked.values() if row.erased_at is None and row.completed_at < before]
        _mark(connection, rows, by=RETENTION, now=now)
        return len(found)


def _mark(
    connection: Connection, rows: Sequence[Row[Any]], *, by: str, now: datetime, parent_id: str | None = None
) -> list[str]:
    """Make locked jobs gone for everyone; the ids of their erasures, in the same order."""
    if not rows:
        return []
    unfinished = [dict(row._mapping) for row in rows if row.status not in TERMINAL]
    ending.cancel(connection, unfinished, by=by, now=now)
    jobs.mark_erased(connection, [row.track_id for row in rows], now=now)
    ids = [new_id("ers") for _ in rows]
    common = {"parent_id": parent_id, "requested_at": now, "requested_by": by}
    pairs = list(zip(ids, rows, strict=True))
    erasures.add(
        connection,
        [common | {"erasure_id": n, "track_id": row.track_id, "client_id": row.client_id} for n, row in pairs],
    )
    told = [
        Event(EventType.JOB_ERASED, by, now, row.track_id, row.client_id, row.batch_id, {"erasure_id": n})
        for n, row in pairs
    ]
    events.append(connection, told)
    return ids


def _stored(wanted: Wanted) -> dict[str, Any]:
    until = None if wanted.created_before is None else wanted.created_before.isoformat()
    said = {"reference": wanted.reference, "tag": wanted.tag, "metadata": dict(wanted.metadata) or None}
    return {name: value for name, value in (said | {"created_before": until}).items() if value is not None}


def _job_filter(client_id: str | None, stored: Mapping[str, Any], asked_at: datetime) -> reads.JobFilter:
    """What is submitted after somebody asked is not meant."""
    until = stored.get("created_before")
    return reads.JobFilter(
        client_id=client_id,
        reference=stored.get("reference"),
        tags=[stored["tag"]] if "tag" in stored else [],
        metadata=stored.get("metadata", {}),
        created_before=asked_at if until is None else min(datetime.fromisoformat(until), asked_at),
        newest_first=False,
    )
