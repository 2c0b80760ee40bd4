"""What a batch of reports changed, written together. The locks of the jobs are held; nothing here commits."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from webhook_app.domain.events import Event
from webhook_app.store import attempts, events, images, jobs, slots
from webhook_app.store.bulk import Together

Rows = Sequence[dict[str, Any]]
ADD = Together(images.ADD, events.ADD)
WRITE = Together(jobs.SAVE, attempts.SAVE, images.SAVE, slots.RELEASE, events.ADD)


def add(connection: Connection, *, new_images: Rows, told: Event) -> None:
    """The pictures of a new job, and the event that tells of it."""
    ADD.execute(connection, new_images, [events.row_of(told)])
    events.notify(connection, [told.track_id] if told.track_id else [])


def add_all(connection: Connection, *, new_images: Rows, told: Sequence[Event]) -> None:
    """The pictures of new jobs, and the events that tell of them."""
    ADD.execute(connection, new_images, [events.row_of(event) for event in told])
    events.notify(connection, [event.track_id for event in told if event.track_id])


def write(
    connection: Connection,
    *,
    changed_jobs: Rows,
    changed_attempts: Rows,
    changed_images: Rows,
    released: Sequence[str],
    told: Sequence[Event],
) -> bool:
    """Write rows back as `jobs.save`, `attempts.save`, `images.save` do, free the slots of the `released` jobs, and
    append the events. False when a job moved meanwhile, which the locks should have made impossible."""
    freed = [{"track_id": track_id} for track_id in released]
    told_rows = [events.row_of(event) for event in told]
    moved, *_ = WRITE.execute(connection, changed_jobs, changed_attempts, changed_images, freed, told_rows)
    events.notify(connection, events.subjects(told))
    return moved == len(changed_jobs)
