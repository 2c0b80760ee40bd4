"""Copying pictures to a place that lasts: claim, fetch, inspect, put, record. No transaction is open while bytes
move."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row

from webhook_app.domain import schedule
from webhook_app.domain.durations import seconds_between
from webhook_app.domain.errors import FetchError, StorageError
from webhook_app.domain.events import Event, EventType
from webhook_app.domain.job import (
    ARCHIVE_SETTLED,
    ArchiveStatus,
    ImageFlag,
    ImageStatus,
    Status,
    archive_status_of,
)
from webhook_app.domain.outcome import Witness
from webhook_app.flows.consequences import HOST_NOT_ALLOWED, NOT_DELIVERED
from webhook_app.flows.policy import Policy
from webhook_app.flows.put import put_picture
from webhook_app.flows.workspace import workspace
from webhook_app.net.port import Fetcher
from webhook_app.pictures.port import DECODER_DIED, NO_DECODER, NO_DISK, Inspected, Inspector
from webhook_app.storage.port import Storage
from webhook_app.store import attempts, blobs, events, images, jobs
from webhook_app.store.engine import Store

# No further source is tried after this; a single one has its own limit.
TRY_SOURCES_FOR = timedelta(seconds=60)
ARCHIVE_DOWN = timedelta(seconds=15)
# What a setting of ours may allow: such a picture waits.
REFUSALS = frozenset({"address_refused", "plain_http"})


@dataclass(frozen=True, slots=True)
class ImageClaim:
    """A leased picture. `sources` are those that may be fetched, in the order to try; `fetches` counts earlier tries.
    `told` is what the row said of its sources, to see whether somebody named others meanwhile."""

    image_id: str
    track_id: str
    sources: tuple[str, ...]
    fetches: int
    expires_at: datetime
    fence: int
    told: tuple[Any, ...]


def claim_images(
    store: Store, *, owner: str, limit: int, policy: Policy, now: datetime, fresh_first: bool = False
) -> list[ImageClaim]:
    """Lease due pictures, the earliest deadline first, or those that were tried least often."""
    with store.writing() as connection:
        lease = schedule.CLAIM_LEASE
        rows = images.claim(connection, owner=owner, limit=limit, lease=lease, now=now, fresh_first=fresh_first)
    return [
        ImageClaim(
            image_id=row.image_id,
            track_id=row.track_id,
            sources=fetchable(row, policy),
            fetches=row.fetches,
            expires_at=row.source_expires_at,
            fence=row.fence,
            told=_told(row),
        )
        for row in rows
    ]


def _told(row: Row[Any]) -> tuple[Any, ...]:
    return tuple(row.sources), row.source_witness


def fetchable(row: Row[Any], policy: Policy) -> tuple[str, ...]:
    """Those of a picture's sources that may be fetched: where only a callback named them, those at known hosts."""
    if row.source_witness != Witness.CALLBACK:
        return tuple(row.sources)
    return tuple(source for source in row.sources if source.startswith("data:") or policy.host_known(source))


def archive_one(
    store: Store,
    *,
    fetcher: Fetcher,
    inspector: Inspector,
    storage: Storage,
    claim: ImageClaim,
    clock: Callable[[], datetime],
) -> None:
    """Fetch, inspect, store and record one picture. A failure is recorded with the next try, or as the picture's
    loss."""
    if not claim.sources:
        _record(store, claim, _wait_for_leave(claim, clock()), clock())
        return
    try:
        with workspace() as folder:
            source, inspected = _fetch_first(fetcher, inspector, claim, folder, clock)
            if not _put(store, storage, claim, inspected, clock()):
                return
    except FetchError as error:
        _record(store, claim, _after_failure(claim, error, clock()), clock())
    except StorageError:
        _record(store, claim, _wait_for_disk("archive_unavailable", clock()), clock())
    except OSError:
        # No room for the download itself. The picture is not to blame, and no fetch is counted.
        _record(store, claim, _wait_for_disk(NO_DISK, clock()), clock())
    else:
        shown = source if source.startswith("http") else None
        _record_archived(store, claim, inspected, shown, clock())


def _fetch_first(
    fetcher: Fetcher, inspector: Inspector, claim: ImageClaim, folder: Path, clock: Callable[[], datetime]
) -> tuple[str, Inspected]:
    """The first source that gives a picture, beginning with another one at each try. One that answered for good makes
    way for the next at once; one that may come good ends the try. Only when all answered for good is that the
    answer."""
    until, last = clock() + TRY_SOURCES_FOR, FetchError("no_source")
    for n in range(len(claim.sources)):
        source = claim.sources[(claim.fetches + n) % len(claim.sources)]
        try:
            return source, fetch(fetcher, inspector, source, folder / f"fetched-{n}")
        except FetchError as error:
            if error.retryable:
                raise
            last = last if last.reason in REFUSALS else error
        if clock() > until:
            raise FetchError(last.reason)
    raise last


def fetch(fetcher: Fetcher, inspector: Inspector, source: str, path: Path) -> Inspected:
    """Bring one source to `path` and look at what it is. Raises `FetchError`."""
    if source.startswith("data:"):
        path.write_text(source)
        return inspector.inspect(path, base64_text=True)
    with path.open("wb") as sink:
        fetcher.fetch(source, sink)
    return inspector.inspect(path, base64_text=source.partition("?")[0].endswith(".base64"))


def _put(store: Store, storage: Storage, claim: ImageClaim, inspected: Inspected, now: datetime) -> bool:
    """Bytes are stored before anything says so: first the row `putting`, then the objects, then the reference. False,
    and nothing is stored, where the job was erased since, or somebody else has the picture."""
    with store.writing() as connection:
        job = jobs.lock(connection, [claim.track_id]).get(claim.track_id)
        if job is None or job.erased_at is not None:
            return False
        if not images.begin_to_put(connection, claim.image_id, inspected.sha256, fence=claim.fence):
            return False
        if not blobs.begin_to_put(connection, _blob_values(inspected, now)):
            raise StorageError("these bytes are being deleted")
    put_picture(storage, inspected)
    return True


def _blob_values(inspected: Inspected, now: datetime) -> dict[str, Any]:
    return {
        "sha256": inspected.sha256,
        "reference_count": 0,
        "content_type": inspected.content_type,
        "bytes": inspected.size,
        "width": inspected.width,
        "height": inspected.height,
        "trailing_bytes": inspected.trailing_bytes,
        "thumbnails": sorted(inspected.thumbnails),
        "created_at": now,
    }


def _after_failure(claim: ImageClaim, error: FetchError, now: datetime) -> dict[str, Any]:
    """When to try again. A picture is lost when its deadline has passed, or when every source answered for good; by our
    own refusal, or for want of room or of a decoder, never."""
    fetches = claim.fetches + 1
    if error.reason in REFUSALS:
        return _wait_for_leave(claim, now)
    if error.reason in {NO_DISK, NO_DECODER}:
        return _wait_for_disk(error.reason, now)
    if not error.retryable or now >= claim.expires_at:
        lost = {"status": ImageStatus.LOST.value, "fetch_at": None}
        return lost | {"fetches": fetches, "reason": error.reason}
    again = schedule.decode_backoff if error.reason == DECODER_DIED else schedule.fetch_backoff
    delay = again(fetches, jitter=random.random())
    return {"fetches": fetches, "fetch_at": min(now + delay, claim.expires_at), "reason": error.reason}


def _wait_for_disk(reason: str, now: datetime) -> dict[str, Any]:
    return {"fetch_at": now + ARCHIVE_DOWN, "reason": reason}


def _wait_for_leave(claim: ImageClaim, now: datetime) -> dict[str, Any]:
    """Look again at times: a setting may allow the host, or the provider's own word confirm it."""
    delay = schedule.fetch_backoff(claim.fetches + 3, jitter=random.random())
    return {"fetches": claim.fetches + 1, "fetch_at": now + delay, "reason": HOST_NOT_ALLOWED}


def _record_archived(
    store: Store, claim: ImageClaim, inspected: Inspected, source_url: str | None, now: datetime
) -> None:
    values = {
        "status": ImageStatus.ARCHIVED.value,
        "sha256": inspected.sha256,
        "source_url": source_url,
        "archived_at": now,
        "fetch_at": None,
        "fetches": claim.fetches + 1,
        "reason": None,
    }
    _record(store, claim, values, now, inspected=inspected)


def _record(
    store: Store, claim: ImageClaim, values: dict[str, Any], now: datetime, *, inspected: Inspected | None = None
) -> None:
    """Write what became of a picture, and of its job's archive, under the job's lock. A stale lease writes nothing."""
    with store.writing() as connection:
        job = jobs.lock(connection, [claim.track_id]).get(claim.track_id)
        if job is None or job.erased_at is not None:
            if inspected is not None:
                blobs.discard(connection, _blob_values(inspected, now))
            return
        by_index = images.of_jobs(connection, [claim.track_id])[claim.track_id]
        image = next(row for row in by_index.values() if row.image_id == claim.image_id)
        if inspected is not None:
            blobs.lock(connection, {inspected.sha256, image.sha256 or inspected.sha256})
            if not _is_kept(connection, inspected, now):
                values, inspected = _wait_for_disk("archive_unavailable", now), None
        flags = [] if inspected is None else _new_flags(job, image, inspected)
        if inspected is not None:
            values = values | {"flags": [*image.flags, *flags]}
        elif _told(image) != claim.told:
            # Other sources were named while we tried the old ones: no verdict before they were tried.
            values = {"fetch_at": now, "reason": None}
        if not images.finish(connection, claim.image_id, fence=claim.fence, values=values):
            return
        if inspected is not None:
            is_new = image.sha256 != inspected.sha256
            blobs.refer_to(connection, inspected.sha256, inspected.thumbnail_sha256, references=int(is_new))
            if is_new and image.sha256 is not None:
                blobs.let_go(connection, [image.sha256])
        told = [_about(EventType.IMAGE_FLAGGED, job, now, image_id=claim.image_id, flag=flag) for flag in flags]
        if values["reason"] == HOST_NOT_ALLOWED != image.reason:
            told.append(_about(EventType.IMAGE_HOST_REFUSED, job, now, image_id=claim.image_id))
        events.append(connection, told)
        if values["reason"] == HOST_NOT_ALLOWED and image.source_witness == Witness.CALLBACK:
            attempts.look_at(connection, claim.track_id, image.source_attempt, now=now)
        if values["reason"] != image.reason or "status" in values:
            _settle_job(connection, job, now)


def _is_kept(connection: Connection, inspected: Inspected, now: datetime) -> bool:
    """Whether nobody has removed, or is removing, the bytes that we put: the last other picture that showed them was
    erased meanwhile, or we were stopped for so long that we were taken for dead. What lies there now is not forgotten:
    a row says so, until the next try puts it again, or nobody does."""
    state = blobs.state(connection, inspected.sha256)
    if state is None:
        blobs.add(connection, _blob_values(inspected, now))
    elif state == blobs.DELETING:
        blobs.remove_again(connection, inspected.sha256)
    return state not in (None, blobs.DELETING)


def _new_flags(job: Row[Any], image: Row[Any], inspected: Inspected) -> list[str]:
    """What its bytes show that the picture is not flagged with yet."""
    asked = (job.input.get("width", inspected.width), job.input.get("height", inspected.height))
    found = [] if inspected.blankness is None else [inspected.blankness]
    if asked != (inspected.width, inspected.height):
        found.append(ImageFlag.WRONG_SIZE)
    return [flag.value for flag in found if flag not in image.flags]


def _about(kind: EventType, job: Row[Any], now: datetime, **data: str) -> Event:
    return Event(kind, "worker", now, job.track_id, job.client_id, job.batch_id, dict(data))


def _settle_job(connection: Connection, job: Row[Any], now: datetime) -> None:
    rows = images.of_jobs(connection, [job.track_id])[job.track_id].values()
    status = archive_status_of([ImageStatus(row.status) for row in rows if row.reason != NOT_DELIVERED])
    values: dict[str, Any] = {"archive_status": status.value}
    if job.status == Status.SUCCEEDED and status in ARCHIVE_SETTLED and job.archive_status != status:
        values |= {"archived_at": now, "waiting_for": None}
        archived = status is ArchiveStatus.ARCHIVED
        kind = EventType.JOB_ARCHIVED if archived else EventType.JOB_ARCHIVE_FAILED
        told = Event(kind, "worker", now, job.track_id, job.client_id, job.batch_id)
        copied = [row.sha256 for row in rows if row.status == ImageStatus.ARCHIVED]
        told.data.update(archive_status=status.value, sha256=copied)
        told.data["bytes"] = blobs.bytes_of(connection, job.track_id)
        told.data["bytes_added"] = max(told.data["bytes"] - events.bytes_told(connection, job.track_id), 0)
        if archived:
            told.data["archive_s"] = seconds_between(job.completed_at, now)
        events.append(connection, [told])
    else:
        events.notify(connection, [job.track_id])
    jobs.touch(connection, [job.track_id], values)


def renew(store: Store, image_ids: Sequence[str], *, owner: str, now: datetime) -> int:
    """Keep the leases of the pictures that this worker is fetching; every 10 s. Returns how many it still had."""
    with store.writing() as connection:
        return images.renew(connection, image_ids, owner=owner, until=now + schedule.CLAIM_LEASE, now=now)


def give_back(store: Store, *, owner: str) -> None:
    """Hand leased pictures to the other workers, when this one stops."""
    with store.writing() as connection:
        images.give_back(connection, owner=owner)
