"""Pictures whose bytes are gone from the archive, and those whose bytes came back: their rows say so, and nothing is
shown as archived that is not there. The digest stays in the row, so that a restored file makes it archived again."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row

from webhook_app.domain.events import Event, EventType
from webhook_app.domain.job import ARCHIVE_SETTLED, ArchiveStatus, ImageStatus, Status, archive_status_of
from webhook_app.flows.consequences import NOT_DELIVERED
from webhook_app.store import copies, events, images, jobs
from webhook_app.store.engine import Store

AT_ONCE = 100


class Loss(StrEnum):
    """The `reason` of a picture that was archived once."""

    MISSING = "archived_bytes_missing"
    ALTERED = "archived_bytes_altered"


def lose(store: Store, sha256: str, loss: Loss, *, held: datetime, by: str, now: datetime) -> int:
    """Say of every picture that shows these bytes that it is lost; returns how many there were. May be repeated. The
    bytes are held until `held`: when somebody has put or shown them since then, what was found is not true any more,
    and nothing is said."""
    values = {"status": ImageStatus.LOST.value, "reason": loss.value}
    return _move(store, sha256, ImageStatus.ARCHIVED, values, held=held, by=by, now=now)


def find_again(store: Store, sha256: str, *, by: str, now: datetime) -> int:
    """These bytes are in the archive as they should be: say so of the pictures that were lost for want of them."""
    values = {"status": ImageStatus.ARCHIVED.value, "reason": None}
    return _move(store, sha256, ImageStatus.LOST, values, held=None, by=by, now=now)


def _move(
    store: Store,
    sha256: str,
    before: ImageStatus,
    values: dict[str, Any],
    *,
    held: datetime | None,
    by: str,
    now: datetime,
) -> int:
    moved, after = 0, ""
    while True:
        with store.writing() as connection:
            rows = copies.shown_by(connection, sha256, status=before.value, after=after, limit=AT_ONCE)
            if not rows:
                return moved
            locked = jobs.lock(connection, sorted({row.track_id for row in rows}))
            if held is not None and not copies.still_holds(connection, sha256, until=held):
                return moved
            ids = [row.image_id for row in rows if locked[row.track_id].erased_at is None]
            changed = copies.move(connection, ids, sha256=sha256, before=before, values=values)
            for track_id in sorted(set(changed)):
                _settle(connection, locked[track_id], by=by, now=now)
        moved, after = moved + len(changed), rows[-1].image_id


def _settle(connection: Connection, job: Row[Any], *, by: str, now: datetime) -> None:
    """The job's archive, from its pictures. No `bytes` in the event: these were counted when they were archived."""
    rows = images.of_jobs(connection, [job.track_id])[job.track_id].values()
    status = archive_status_of([ImageStatus(row.status) for row in rows if row.reason != NOT_DELIVERED])
    jobs.touch(connection, [job.track_id], {"archive_status": status.value})
    if job.status != Status.SUCCEEDED or status not in ARCHIVE_SETTLED:
        events.notify(connection, [job.track_id])
        return
    kind = EventType.JOB_ARCHIVED if status is ArchiveStatus.ARCHIVED else EventType.JOB_ARCHIVE_FAILED
    told = Event(kind, by, now, job.track_id, job.client_id, job.batch_id)
    shown = [row.sha256 for row in rows if row.status == ImageStatus.ARCHIVED]
    told.data.update(archive_status=status.value, sha256=shown)
    events.append(connection, [told])
