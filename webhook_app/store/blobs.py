"""Bytes that pictures share: counted by reference, and removed once no picture shows them.

Whoever puts, references or removes bytes has their row locked. A row that says `deleting` is the word of somebody who
is removing them: nobody may put or reference them until the row is gone. While somebody has a lease on a row, nobody
else removes its bytes.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from webhook_app.store.tables import Blob, Image

PUTTING, STORED, DELETING = "putting", "stored", "deleting"
INSTANT = timedelta(seconds=1)


def state(connection: Connection, sha256: str) -> str | None:
    """The state of a blob, its row locked; None when these bytes are new."""
    return connection.scalar(select(Blob.state).where(Blob.sha256 == sha256).with_for_update())


def add(connection: Connection, values: dict[str, Any]) -> None:
    """A row for bytes that are about to be put; somebody else may be putting the same ones just now."""
    connection.execute(_dialect(connection).insert(Blob).values(state=PUTTING, **values).on_conflict_do_nothing())


def refer_to(connection: Connection, sha256: str, thumbnail_sha256: dict[str, str], *, references: int = 1) -> None:
    """The bytes are stored, and one more picture shows them, or none where it did so already. `state` has locked the
    row, and was not `deleting`. Who mends them just now loses the lease: what he found of them is not true any more."""
    stored = {"state": STORED, "reference_count": Blob.reference_count + references, "lease_until": None}
    connection.execute(update(Blob).where(Blob.sha256 == sha256).values(**stored, thumbnail_sha256=thumbnail_sha256))


def bytes_of(connection: Connection, track_id: str) -> int:
    """How many bytes a job's archived pictures have."""
    size = select(func.sum(Blob.bytes)).join(Image, Image.sha256 == Blob.sha256)
    return int(connection.scalar(size.where(Image.track_id == track_id)) or 0)


def let_go(connection: Connection, digests: Sequence[str]) -> list[str]:
    """Pictures show these bytes no more. Returns those that none shows any more: they are `deleting` now."""
    gone = []
    for sha256 in sorted(set(digests)):  # In one order everywhere, as two who let go may share several.
        state(connection, sha256)  # A statement of its own: the count must see what whoever held the lock has done.
        shown = select(func.count()).where(Image.sha256 == sha256).scalar_subquery()
        fewer = update(Blob).where(Blob.sha256 == sha256).values(reference_count=shown)
        if connection.scalar(fewer.returning(Blob.reference_count)) == 0:
            connection.execute(update(Blob).where(Blob.sha256 == sha256).values(state=DELETING))
            gone.append(sha256)
    return gone


def discard(connection: Connection, values: dict[str, Any]) -> None:
    """Bytes that were put, and that no picture will show on that account: `deleting`, unless another one shows them."""
    remove_again(connection, values["sha256"])
    insert = _dialect(connection).insert(Blob).values(state=DELETING, **values)
    unreferenced = insert.on_conflict_do_update(
        index_elements=[Blob.sha256], set_={"state": DELETING}, where=Blob.reference_count == 0
    )
    connection.execute(unreferenced)


def remove_again(connection: Connection, sha256: str) -> None:
    """Bytes that were put while somebody is removing them, perhaps just after he did: nothing that he does from now on
    ends their removal, and when his lease has ended somebody removes them once more."""
    removing = select(Blob.lease_until).where(Blob.sha256 == sha256, Blob.state == DELETING).with_for_update()
    lease_until = connection.scalar(removing)
    if lease_until is not None:
        longer = update(Blob).where(Blob.sha256 == sha256).values(lease_until=lease_until + INSTANT)
        connection.execute(longer)


def claim_unreferenced(
    connection: Connection, *, limit: int, abandoned_before: datetime, lease_until: datetime, now: datetime
) -> list[Row[Any]]:
    """Take bytes that no picture shows, to remove them: those that are `deleting`, and those that somebody began to put
    before that instant and died. Nobody else has them until the lease ends."""
    free = or_(Blob.lease_until.is_(None), Blob.lease_until < now)
    to_go = or_(Blob.state == DELETING, Blob.created_at < abandoned_before)
    due = select(Blob.sha256).where(Blob.reference_count == 0, free, to_go).order_by(Blob.created_at).limit(limit)
    digests = connection.scalars(due.with_for_update(skip_locked=True)).all()
    taken = update(Blob).where(Blob.sha256.in_(digests)).values(state=DELETING, lease_until=lease_until)
    return list(connection.execute(taken.returning(Blob.sha256, Blob.thumbnails))) if digests else []


def give_back(connection: Connection, *, lease_until: datetime) -> None:
    """The archive is away: whoever comes next may take these."""
    connection.execute(update(Blob).where(Blob.lease_until == lease_until).values(lease_until=None))


def removed(connection: Connection, sha256: str, *, lease_until: datetime) -> None:
    """The bytes are gone; nothing happens where somebody else has them by now."""
    mine = (Blob.sha256 == sha256, Blob.state == DELETING, Blob.lease_until == lease_until)
    connection.execute(delete(Blob).where(*mine))


def is_any_left(connection: Connection, digests: Sequence[str]) -> bool:
    """Whether bytes of these are still to be removed."""
    left = select(Blob.sha256).where(Blob.sha256.in_(digests), Blob.state == DELETING).limit(1)
    return bool(digests) and connection.scalar(left) is not None


def _dialect(connection: Connection) -> Any:
    return postgresql if connection.dialect.name == "postgresql" else sqlite
