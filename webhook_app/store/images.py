"""Pictures: made at submit, given sources by a success, leased to an archiver, recorded, and erased."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, or_, select, update

from webhook_app.domain.ids import new_id
from webhook_app.domain.job import ImageStatus
from webhook_app.store.bulk import AddMany, SaveMany, Statement, table_of
from webhook_app.store.tables import Image

MOVABLE = [
    "status",
    "sources",
    "source_witness",
    "source_attempt",
    "source_expires_at",
    "reason",
    "flags",
    "fetch_at",
    "fetches",
]
IMAGES = table_of(Image)
OF_JOBS = Statement(
    lambda among: select(IMAGES).where(among(IMAGES.c.track_id)).order_by(IMAGES.c.track_id, IMAGES.c.index)
)
# To be copied still, and nobody was warned.
AT_RISK = (Image.fetch_at.is_not(None), Image.at_risk_at.is_(None))
# What stays of an erased picture: whose it was, which attempt made it, and when.
ERASED: dict[str, Any] = {
    "status": ImageStatus.ERASED.value,
    "sources": [],
    "source_url": None,
    "reason": None,
    "flags": [],
    "sha256": None,
    "putting_sha256": None,
    "fetch_at": None,
    "lease_owner": None,
    "lease_until": None,
}
NEW: dict[str, Any] = {column.key: None for column in IMAGES.c} | {
    "status": ImageStatus.PENDING.value,
    "sources": [],
    "flags": [],
    "fetches": 0,
    "fence": 0,
}
ADD = AddMany(IMAGES, columns=list(NEW))
SAVE = SaveMany(IMAGES, key=["image_id"], columns=MOVABLE)


def new(track_id: str, count: int) -> list[dict[str, Any]]:
    """The rows of a new job's pictures, to be added."""
    return [NEW | {"image_id": new_id("img"), "track_id": track_id, "index": index} for index in range(count)]


def of_jobs(connection: Connection, track_ids: Sequence[str]) -> dict[str, dict[int, Row[Any]]]:
    """The pictures of these (locked) jobs: by track_id, then by index."""
    found: dict[str, dict[int, Row[Any]]] = {track_id: {} for track_id in track_ids}
    for row in OF_JOBS.execute(connection, track_ids):
        found[row.track_id][row._mapping["index"]] = row
    return found


def save(connection: Connection, changed: Sequence[dict[str, Any]]) -> None:
    """Write pictures back, one statement for all; the locks of their jobs are held."""
    if changed:
        SAVE.execute(connection, changed)


def claim(
    connection: Connection, *, owner: str, limit: int, lease: timedelta, now: datetime, fresh_first: bool = False
) -> list[Row[Any]]:
    """Lease pictures that are due to be fetched, the earliest deadline first; with `fresh_first` those that were tried
    least often, and of these the earliest deadline."""
    order = (Image.fetches, Image.source_expires_at) if fresh_first else (Image.source_expires_at,)
    due = (
        select(Image.image_id)
        .where(Image.fetch_at <= now, or_(Image.lease_until.is_(None), Image.lease_until < now))
        .order_by(*order)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = connection.scalars(due).all()
    if not ids:
        return []
    statement = (
        update(Image)
        .where(Image.image_id.in_(ids))
        .values(lease_owner=owner, lease_until=now + lease, fence=Image.fence + 1)
        .returning(Image.__table__)
    )
    rows = connection.execute(statement).all()
    return sorted(rows, key=lambda row: (row.source_expires_at, row.image_id))


def near_their_end(connection: Connection, *, before: datetime, limit: int) -> list[Row[Any]]:
    """Pictures that nobody was warned of and that are gone before then, unless they are copied; earliest first."""
    near = select(Image.image_id, Image.track_id).where(*AT_RISK, Image.source_expires_at <= before)
    return list(connection.execute(near.order_by(Image.source_expires_at, Image.image_id).limit(limit)))


def mark_at_risk(connection: Connection, image_ids: Sequence[str], *, now: datetime) -> list[Row[Any]]:
    """Note the warning; the locks of their jobs are held. Returns those that still need one, by deadline."""
    statement = update(Image).where(Image.image_id.in_(image_ids), *AT_RISK).values(at_risk_at=now)
    rows = connection.execute(statement.returning(Image.__table__)).all()
    return sorted(rows, key=lambda row: (row.source_expires_at, row.image_id))


def track_id_of(connection: Connection, image_id: str) -> str | None:
    """Whose picture this is."""
    return connection.scalar(select(Image.track_id).where(Image.image_id == image_id))


def finish(connection: Connection, image_id: str, *, fence: int, values: dict[str, Any]) -> bool:
    """Write the result of a fetch and end the lease; False when somebody else has the picture by now."""
    statement = update(Image).where(Image.image_id == image_id, Image.fence == fence)
    statement = statement.where(Image.status == ImageStatus.PENDING)
    ended = {"lease_owner": None, "lease_until": None, "putting_sha256": None}
    return connection.execute(statement.values(**ended, **values)).rowcount == 1


def begin_to_put(connection: Connection, image_id: str, sha256: str, *, fence: int) -> bool:
    """Note which bytes are being put for a picture; False when somebody else has it by now, or nobody may."""
    statement = update(Image).where(Image.image_id == image_id, Image.fence == fence)
    return connection.execute(statement.values(putting_sha256=sha256)).rowcount == 1


def renew(connection: Connection, image_ids: Sequence[str], *, owner: str, until: datetime, now: datetime) -> int:
    """Keep the leases of these pictures, where this worker still has them: one that has run out is not revived, and
    what somebody is writing just now can wait for the next renewal."""
    held = select(Image.image_id).where(Image.image_id.in_(image_ids), Image.lease_owner == owner)
    held = held.where(Image.lease_until > now).with_for_update(skip_locked=True)
    ids = connection.scalars(held).all()
    connection.execute(update(Image).where(Image.image_id.in_(ids)).values(lease_until=until))
    return len(ids)


def give_back(connection: Connection, *, owner: str) -> None:
    """Drop this worker's leases; what somebody is writing just now ends its own."""
    mine = select(Image.image_id).where(Image.lease_owner == owner).with_for_update(skip_locked=True)
    idle = update(Image).where(Image.image_id.in_(connection.scalars(mine).all()))
    connection.execute(idle.values(lease_owner=None, lease_until=None))


def erase(connection: Connection, track_id: str) -> tuple[list[str], list[str]]:
    """Take everything out of the pictures of this locked job. Returns the digests of the bytes that they showed, and of
    those that an archiver may be putting for them just now; neither are touched."""
    mine = Image.track_id == track_id
    rows = connection.execute(select(Image.sha256, Image.putting_sha256).where(mine).order_by(Image.image_id)).all()
    connection.execute(update(Image).where(mine).values(fence=Image.fence + 1, **ERASED))
    return [row.sha256 for row in rows if row.sha256], [row.putting_sha256 for row in rows if row.putting_sha256]
