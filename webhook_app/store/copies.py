"""Our copies of pictures, as whoever verifies and tidies the archive asks for them: blobs by digest, and the pictures
that show them."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, exists, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from webhook_app.domain.job import ImageStatus
from webhook_app.store.tables import Blob, Image


def stored(connection: Connection, *, after: str, limit: int) -> list[Row[Any]]:
    """Blobs whose bytes are in the archive, by digest, from behind this one on. `is_lost_somewhere` says that a picture
    which shows them counts as lost."""
    lost = exists().where(Image.sha256 == Blob.sha256, Image.status == ImageStatus.LOST)
    statement = select(Blob.__table__, lost.label("is_lost_somewhere"))
    statement = statement.where(Blob.state == "stored", Blob.sha256 > after)
    return list(connection.execute(statement.order_by(Blob.sha256).limit(limit)))


def count_stored(connection: Connection) -> int:
    """How many there are."""
    return int(connection.scalar(select(func.count()).where(Blob.state == "stored")) or 0)


def get(connection: Connection, sha256: str) -> Row[Any] | None:
    """The row of stored bytes; None when they were erased, or are just being."""
    statement = select(Blob.__table__).where(Blob.sha256 == sha256, Blob.state == "stored")
    return connection.execute(statement).one_or_none()


def hold(connection: Connection, sha256: str, *, until: datetime, now: datetime) -> Row[Any] | None:
    """Have stored bytes for oneself, to mend them; nobody removes them until then. The row as it is now; None when
    somebody else has them, or they are not stored any more."""
    free = or_(Blob.lease_until.is_(None), Blob.lease_until < now)
    mine = update(Blob).where(Blob.sha256 == sha256, Blob.state == "stored", free).values(lease_until=until)
    return connection.execute(mine.returning(Blob.__table__)).one_or_none()


def still_holds(connection: Connection, sha256: str, *, until: datetime) -> bool:
    """Whether nobody has put, shown or erased these bytes since `hold`; locks their row."""
    held = select(Blob.sha256).where(Blob.sha256 == sha256, Blob.state == "stored", Blob.lease_until == until)
    return connection.scalar(held.with_for_update()) is not None


def let_off(connection: Connection, sha256: str, *, until: datetime) -> None:
    """The end of `hold`: bytes that no picture shows any more may be removed."""
    mine = (Blob.sha256 == sha256, Blob.lease_until == until)
    connection.execute(update(Blob).where(*mine).values(lease_until=None))


def note_thumbnails(connection: Connection, sha256: str, digests: dict[str, str]) -> None:
    """The thumbnails were made again."""
    stored = update(Blob).where(Blob.sha256 == sha256, Blob.state == "stored")
    connection.execute(stored.values(thumbnail_sha256=digests))


def count_shown_by(connection: Connection, sha256: str) -> int:
    """How many pictures show these bytes."""
    return int(connection.scalar(select(func.count()).where(Image.sha256 == sha256)) or 0)


def shown_by(connection: Connection, sha256: str, *, after: str = "", limit: int, **having: str) -> list[Row[Any]]:
    """The pictures that show these bytes, by image_id, from behind this one on."""
    statement = select(Image.__table__).where(Image.sha256 == sha256, Image.image_id > after).filter_by(**having)
    return list(connection.execute(statement.order_by(Image.image_id).limit(limit)))


def move(
    connection: Connection, image_ids: Sequence[str], *, sha256: str, before: ImageStatus, values: dict[str, Any]
) -> list[str]:
    """Write this to those of these pictures that still show these bytes and have that status; returns their
    track_ids."""
    still = (Image.image_id.in_(image_ids), Image.sha256 == sha256, Image.status == before)
    return list(connection.scalars(update(Image).where(*still).values(**values).returning(Image.track_id)))


def known(connection: Connection, digests: Collection[str]) -> set[str]:
    """Which of these have a row, whatever it says."""
    return set(connection.scalars(select(Blob.sha256).where(Blob.sha256.in_(digests))))


def count_unreferenced(connection: Connection, *, abandoned_before: datetime) -> int:
    """How many blobs no picture shows, but for those that somebody may be putting since that instant."""
    to_go = or_(Blob.state == "deleting", Blob.created_at < abandoned_before)
    return int(connection.scalar(select(func.count()).where(Blob.reference_count == 0, to_go)) or 0)


def claim_orphan(connection: Connection, sha256: str, *, lease_until: datetime, now: datetime) -> bool:
    """Say that bytes which have no row are being deleted, so that nobody puts or shows them meanwhile. False when they
    have one by now. Should whoever claimed them die, a worker removes them when the lease ends."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    unknown = {"content_type": "", "bytes": 0, "width": 0, "height": 0, "trailing_bytes": 0, "thumbnails": []}
    row = {"sha256": sha256, "state": "deleting", "reference_count": 0, "created_at": now} | unknown
    row["lease_until"] = lease_until
    claimed = dialect.insert(Blob).values(**row).on_conflict_do_nothing().returning(Blob.sha256)
    return connection.scalar(claimed) is not None


def forget_orphan(connection: Connection, sha256: str, *, lease_until: datetime) -> None:
    """They are gone; nothing is done where the lease has ended and somebody else has them."""
    mine = (Blob.sha256 == sha256, Blob.state == "deleting", Blob.lease_until == lease_until)
    connection.execute(delete(Blob).where(*mine))
