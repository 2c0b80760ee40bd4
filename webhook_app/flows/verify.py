"""Reading our copies again: whether each object is there, whole and as its digest says, and mending what is not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from webhook_app.flows.look import Found, Means, look
from webhook_app.flows.mend import Mended, mend
from webhook_app.store import copies
from webhook_app.store.engine import Store

PICTURES_NAMED = 100


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one blob, and whether it is sound now. `problem` says why it could not be mended. Of the
    `pictures` that show it the first hundred are named; `lost` counts those that are lost since now, `found_again`
    those that were lost and are not any more."""

    sha256: str
    outcome: Found
    repaired: bool
    problem: str | None
    pictures: int
    lost: int
    found_again: int
    track_ids: Sequence[str]
    image_ids: Sequence[str]

    @property
    def is_wrong(self) -> bool:
        return self.outcome is not Found.SOUND and not self.repaired


def count(store: Store) -> int:
    """How many blobs there are to verify."""
    with store.reading() as connection:
        return copies.count_stored(connection)


def slice_after(store: Store, cursor: str, *, limit: int) -> list[Row[Any]]:
    """The blobs behind the cursor (the digest of the last one, at first empty), by digest."""
    with store.reading() as connection:
        return copies.stored(connection, after=cursor, limit=limit)


def verify(means: Means, blob: Row[Any], *, repair: bool) -> Finding | None:
    """Read one copy again; None when it is as it should be, or was erased meanwhile. Without `repair` nothing is
    changed. Raises `StorageError` when the archive as a whole does not work."""
    found = look(means.storage, blob)
    if found is Found.UNREADABLE:
        means.storage.check()
    if found is Found.SOUND and not (repair and blob.is_lost_somewhere):
        return None
    with means.store.reading() as connection:
        if copies.get(connection, blob.sha256) is None:
            return None
        pictures = copies.count_shown_by(connection, blob.sha256)
        showing = copies.shown_by(connection, blob.sha256, limit=PICTURES_NAMED)
    mended = mend(means, blob.sha256, found, showing) if repair else Mended(found, "not_tried")
    if mended.outcome is Found.SOUND and not mended.found_again:
        return None  # Somebody else was quicker.
    return Finding(
        sha256=blob.sha256,
        outcome=mended.outcome,
        repaired=mended.problem is None and mended.outcome is not Found.SOUND,
        problem=mended.problem,
        pictures=pictures,
        lost=mended.lost,
        found_again=mended.found_again,
        track_ids=sorted({row.track_id for row in showing}),
        image_ids=[row.image_id for row in showing],
    )
