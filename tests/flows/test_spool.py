"""Callbacks out of the spool: one that cannot be brought back does not hold up the others."""

from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

from tests.flows.world import World
from webhook_app.domain.errors import DatabaseUnavailable
from webhook_app.flows import spool
from webhook_app.storage.port import Drained
from webhook_app.storage.spool import FileSpool
from webhook_app.store.engine import Store

FAULTS = {
    "no text for a column that needs one": (b'"modelslab"', b"null"),
    "a number beyond every column": (b'"attempt":', b'"attempt":%d' % 10**20),
    "no instant": (b'"received_at":"', b'"received_at":"yesterday '),
    "no member of this name": (b'"track_id"', b'"tracked"'),
    "no base64": (b'"body":"', b'"body":"eA'),
    "no JSON": (b"}", b""),
}


@pytest.fixture
def kept(tmp_path: Path) -> FileSpool:
    return FileSpool(tmp_path / "spool")


def line_of(world: World, kept: FileSpool) -> bytes:
    """A callback as it lies in the spool, taken out of it."""
    taken: list[bytes] = []

    def take(entries: Sequence[bytes]) -> Sequence[bytes]:
        taken.extend(entries)
        return []

    spool.keep(kept, [world.arrival(world.submit(), b"{}")])
    kept.drain(take)
    return taken[0]


@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
def test_a_line_that_cannot_be_brought_back_is_set_aside_alone(
    world: World, kept: FileSpool, fault: tuple[bytes, bytes]
) -> None:
    *good, bad = [line_of(world, kept) for _ in range(5)]
    kept.append([*good[:2], bad.replace(*fault), *good[2:]])
    assert spool.drain(world.store, kept) == Drained(4, 1)
    assert (kept.entries(), kept.unreadable()) == (0, 1)
    assert {row.track_id for row in world.callbacks()} == {orjson.loads(line)["track_id"] for line in good}


def test_while_the_database_is_behind_every_line_stays(world: World, kept: FileSpool, empty_database_url: str) -> None:
    spool.keep(kept, [world.arrival(world.submit(), b"{}")])
    behind = Store(empty_database_url)
    with pytest.raises(DatabaseUnavailable):
        spool.drain(behind, kept)
    behind.dispose()
    assert (kept.entries(), kept.unreadable()) == (1, 0)
    assert spool.drain(world.store, kept) == Drained(1, 0)
