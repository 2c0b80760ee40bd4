"""The rows that a batch of reports is about, locked, read and written together. Nothing here commits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, literal_column, select

from webhook_app.domain.events import Event
from webhook_app.store import attempts, callbacks, events, images, jobs, slots
from webhook_app.store.attempts import ATTEMPTS
from webhook_app.store.bulk import Together
from webhook_app.store.callbacks import CALLBACKS
from webhook_app.store.images import IMAGES
from webhook_app.store.jobs import JOBS
from webhook_app.store.lookup import Find

Rows = Sequence[dict[str, Any]]
ADD = Together(images.ADD, events.ADD, called=[events.NOTIFIED])
WRITE = Together(
    jobs.SAVE,
    attempts.SAVE,
    images.SAVE,
    slots.RELEASE,
    callbacks.KEEP,
    callbacks.SETTLE,
    events.ADD,
    called=[events.NOTIFIED],
)
LOCKED = Find(jobs.locking)
# Digests of the attempt's applied callbacks. Read behind the jobs' locks, so that it stays true until the commit.
APPLIED = (
    # A plain "," would be a parameter that SQLAlchemy puts in on its own execution, which `Driven` goes round.
    select(func.aggregate_strings(CALLBACKS.c.sha256, literal_column("','")))  # type: ignore[arg-type]
    .where(CALLBACKS.c.track_id == ATTEMPTS.c.track_id, CALLBACKS.c.attempt == ATTEMPTS.c.n)
    .where(CALLBACKS.c.applied_at.is_not(None))
    .scalar_subquery()
    .label("applied")
)
ALONE = Find(lambda among: select(ATTEMPTS, APPLIED).where(among(ATTEMPTS.c.track_id)))
# A row for each attempt and picture of a job: one and one, nearly always.
WITH_IMAGES = Find(
    lambda among: (
        select(ATTEMPTS, APPLIED, IMAGES)
        .outerjoin(IMAGES, IMAGES.c.track_id == ATTEMPTS.c.track_id)
        .where(among(ATTEMPTS.c.track_id))
        .order_by(ATTEMPTS.c.track_id, IMAGES.c.index)
    )
)
OF_JOB = [column.key for column in JOBS.c]
OF_ATTEMPT = [column.key for column in ATTEMPTS.c]
OF_IMAGE = [column.key for column in IMAGES.c]


@dataclass(frozen=True, slots=True)
class Found:
    """Jobs by track_id, attempts by (track_id, n), pictures by track_id and then by index, as rows to be changed; and
    which callbacks of these attempts are applied."""

    jobs: dict[str, dict[str, Any]]
    attempts: dict[tuple[str, int], dict[str, Any]]
    images: dict[str, dict[int, dict[str, Any]]]
    applied: set[callbacks.Key]


def lock(connection: Connection, track_ids: Sequence[str], *, with_images: bool) -> Found:
    """These jobs, locked as `jobs.lock` does, then their attempts, and their pictures when asked for: those of a job
    without any attempt are not wanted by anybody."""
    wanted = sorted(set(track_ids))
    locked = [dict(zip(OF_JOB, row, strict=True)) for row in LOCKED.rows(connection, wanted)] if wanted else []
    found = Found({job["track_id"]: job for job in locked}, {}, {}, set())
    if not locked:
        return found
    for row in (WITH_IMAGES if with_images else ALONE).rows(connection, list(found.jobs)):
        attempt = dict(zip(OF_ATTEMPT, row, strict=False))
        key = attempt["track_id"], attempt["n"]
        found.attempts.setdefault(key, attempt)
        digests, *picture = row[len(OF_ATTEMPT) :]
        found.applied.update((*key, sha256) for sha256 in (digests.split(",") if digests else ()))
        image = dict(zip(OF_IMAGE, picture, strict=False))
        pictures = found.images.setdefault(attempt["track_id"], {})
        if image and image["image_id"] is not None:
            pictures[image["index"]] = image
    return found


def add(connection: Connection, *, new_images: Rows, told: Sequence[Event]) -> None:
    """The pictures of new jobs, and the events that tell of them."""
    _together(connection, ADD, new_images, told=told)


def write(
    connection: Connection,
    *,
    changed_jobs: Rows,
    changed_attempts: Rows,
    changed_images: Rows,
    released: Sequence[str],
    told: Sequence[Event],
    received: Rows = (),
    settled: Rows = (),
) -> bool:
    """Write rows back as `jobs.save`, `attempts.save`, `images.save` do, free the slots of the `released` jobs, put
    `received` callbacks on record with their verdicts, settle others, and append the events. False when a job moved
    meanwhile, which the locks should have made impossible."""
    freed = [{"track_id": track_id} for track_id in released]
    rows = (changed_jobs, changed_attempts, changed_images, freed, callbacks.folded(received), settled)
    moved, *_ = _together(connection, WRITE, *rows, told=told)
    return moved == len(changed_jobs)


def _together(connection: Connection, statement: Together, *rows: Rows, told: Sequence[Event]) -> list[int]:
    """The rows, the events behind them, and the notification in the same round trip; only a large one has a second."""
    ids = events.subjects(told)
    first, others = ids[: events.IDS_IN_A_NOTIFICATION], ids[events.IDS_IN_A_NOTIFICATION :]
    payload = {"payload": ",".join(first)} if told else {}
    counts = statement.execute(connection, *rows, [events.row_of(event) for event in told], **payload)
    if others:
        events.notify(connection, others)
    return counts
