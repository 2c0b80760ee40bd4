"""Bytes that pictures share: counted by reference, and removed once no picture shows them.

Whoever puts, references or removes bytes has their row locked. A row that says `deleting` is the word of somebody who
is removing them: nobody may put or reference them until the row is gone. While somebody has a lease on a row, nobody
else removes its bytes.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from webhook_app.domain.job import ImageStatus
from webhook_app.store.tables import Blob, Image

PUTTING, STORED, DELETING = "putting", "stored", "deleting"
INSTANT = timedelta(seconds=1)


def lock(connection: Connection, digests: Collection[str]) -> dict[str, str]:
    """The states of these blobs, by digest, their rows locked; new bytes are left out. Whoever needs several locks all
    of them here, in the one order that holds everywhere: two who share some never wait for each other in a circle."""
    wanted = select(Blob.sha256, Blob.state).where(Blob.sha256.in_(sorted(set(digests)))).order_by(Blob.sha256)
    return {row.sha256: row.state for row in connection.execute(wanted.with_for_update())}


def state(connection: Connection, sha256: str) -> str | None:
    """The state of a blob, its row locked; None when these bytes are new."""
    return lock(connection, [sha256]).get(sha256)


def add(connection: Connection, values: dict[str, Any]) -> None:
    """A row for bytes of which nobody knew, as if they were about to be put."""
    connection.execute(_dialect(connection).insert(Blob).values(state=PUTTING, **values).on_conflict_do_nothing())


def begin_to_put(connection: Connection, values: dict[str, Any]) -> bool:
    """Say that these bytes are about to be put; somebody else may be putting the same ones just now. Whoever died over
    it has begun anew with that: nobody removes them as abandoned. False while they are being removed."""
    insert = _dialect(connection).insert(Blob).values(state=PUTTING, **values)
    unfinished = (Blob.state == PUTTING) & (Blob.reference_count == 0)
    again = {name: insert.excluded[name] for name in values if name != "sha256"}
    connection.execute(insert.on_conflict_do_update(index_elements=[Blob.sha256], set_=again, where=unfinished))
    return lock(connection, [values["sha256"]])[values["sha256"]] != DELETING


def refer_to(connection: Connection, sha256: str, thumbnail_sha256: dict[str, str], *, references: int = 1) -> None:
    """The bytes are stored, and one more picture shows them, or none where it did so already. The row is locked, and
    was not `deleting`. Who mends them just now loses the lease: what he found of them is not true any more."""
    stored = {"state": STORED, "reference_count": Blob.reference_count + references, "lease_until": None}
    connection.execute(update(Blob).where(Blob.sha256 == sha256).values(**stored, thumbnail_sha256=thumbnail_sha256))


def bytes_of(connection: Connection, track_id: str) -> int:
    """How many bytes a job's archived pictures have."""
    size = select(func.sum(Blob.bytes)).join(Image, Image.sha256 == Blob.sha256)
    return int(connection.scalar(size.where(Image.track_id == track_id, Image.status == ImageStatus.ARCHIVED)) or 0)


def let_go(connection: Connection, digests: Sequence[str]) -> list[str]:
    """Pictures show these bytes no more. Returns those that none shows any more: they are `deleting` now."""
    gone = []
    lock(connection, digests)  # A statement of its own: the counts must see what whoever held a lock has done.
    for sha256 in sorted(set(digests)):
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


def expect(connection: Connection, digests: Collection[str], *, thumbnails: Sequence[int], now: datetime) -> None:
    """An archiver is putting these just now for a picture that was erased, or died over it: where nothing is known of
    them any more, it is known again, so that they are removed as abandoned should nobody discard them."""
    unknown = {"content_type": "", "bytes": 0, "width": 0, "height": 0, "trailing_bytes": 0}
    row = unknown | {"state": PUTTING, "reference_count": 0, "thumbnails": list(thumbnails), "created_at": now}
    for sha256 in sorted(digests):
        connection.execute(_dialect(connection).insert(Blob).values(sha256=sha256, **row).on_conflict_do_nothing())


def claim_unreferenced(
    connection: Connection,
    *,
    limit: int,
    abandoned_before: datetime,
    lease_until: datetime,
    now: datetime,
    among: Collection[str] | None = None,
) -> list[Row[Any]]:
    """Take bytes that no picture shows, to remove them: those that are `deleting`, and those that somebody began to put
    before that instant and died. Nobody else has them until the lease ends. `among` None means all."""
    free = or_(Blob.lease_until.is_(None), Blob.lease_until < now)
    to_go = or_(Blob.state == DELETING, Blob.created_at < abandoned_before)
    due = select(Blob.sha256).where(Blob.reference_count == 0, free, to_go).order_by(Blob.created_at).limit(limit)
    if among is not None:
        due = due.where(Blob.sha256.in_(sorted(among)))
    digests = connection.scalars(due.with_for_update(skip_locked=True)).all()
    taken = update(Blob).where(Blob.sha256.in_(digests)).values(state=DELETING, lease_until=lease_until)
    columns = (Blob.sha256, Blob.thumbnails, Blob.remove_tries)
    return list(connection.execute(taken.returning(*columns))) if digests else []


def give_back(connection: Connection, digests: Collection[str], *, lease_until: datetime) -> None:
    """They were not tried: whoever comes next may take these."""
    connection.execute(update(Blob).where(*_held(digests, lease_until)).values(lease_until=None))


def put_off(connection: Connection, sha256: str, *, lease_until: datetime, until: datetime) -> None:
    """These could not be removed: nobody tries again before then."""
    failed = {"lease_until": until, "remove_tries": Blob.remove_tries + 1}
    connection.execute(update(Blob).where(*_held([sha256], lease_until)).values(**failed))


def removed(connection: Connection, sha256: str, *, lease_until: datetime) -> bool:
    """The bytes are gone; False, and nothing is done, where somebody else has them by now."""
    gone = delete(Blob).where(*_held([sha256], lease_until), Blob.state == DELETING)
    return connection.execute(gone).rowcount == 1


def left(connection: Connection, digests: Collection[str]) -> list[Row[Any]]:
    """Bytes of these that no picture shows and that are still there, or may be: `remove_tries` of each."""
    there = select(Blob.sha256, Blob.remove_tries).where(Blob.sha256.in_(sorted(digests)), Blob.reference_count == 0)
    return list(connection.execute(there.order_by(Blob.sha256))) if digests else []


def _held(digests: Collection[str], lease_until: datetime) -> tuple[ColumnElement[bool], ...]:
    return Blob.sha256.in_(sorted(digests)), Blob.lease_until == lease_until


def _dialect(connection: Connection) -> Any:
    return postgresql if connection.dialect.name == "postgresql" else sqlite
