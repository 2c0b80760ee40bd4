"""Callbacks out of the spool: one that cannot be brought back does not hold up the others."""

from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

from tests.flows.world import World
from webhook_app.domain.errors import DatabaseUnavailable
from webhook_app.flows import spool
from webhook_app.flows.erase import erase_job
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


def aside(world: World, tmp_path: Path, *track_ids: str, machine: str = "spool") -> FileSpool:
    """A machine that has set one callback of each of these jobs aside: torn by a crash while it was written."""
    kept = FileSpool(tmp_path / machine)
    for track_id in track_ids:
        writer = FileSpool(tmp_path / "writer")
        spool.keep(writer, [world.arrival(track_id, b"{}" * 300)])
        (path,) = (tmp_path / "writer").iterdir()
        (tmp_path / machine).mkdir(exist_ok=True)
        (tmp_path / machine / f"{track_id}.spool").write_bytes(path.read_bytes()[:-60])
        path.unlink()
    assert spool.drain(world.store, kept).unreadable == len(track_ids)
    return kept


def texts(tmp_path: Path, machine: str = "spool") -> str:
    return "".join(path.read_text() for path in (tmp_path / machine).iterdir())


def test_what_another_machine_set_aside_goes_once_its_job_is_erased(world: World, tmp_path: Path) -> None:
    gone, stays = world.submit(), world.submit()
    kept = aside(world, tmp_path, gone, stays)
    assert spool.scrub(world.store, kept) == 0
    erase_job(world.store, gone, by="key:k", now=world.at)
    assert [spool.scrub(world.store, kept) for _ in range(2)] == [1, 0]
    assert (gone in texts(tmp_path), stays in texts(tmp_path)) == (False, True)
    assert kept.unreadable() == 2


def test_a_line_that_is_set_aside_after_its_job_was_erased_goes_at_once(world: World, tmp_path: Path) -> None:
    gone, stays = world.submit(), world.submit()
    erase_job(world.store, gone, by="key:k", now=world.at)
    aside(world, tmp_path, gone, stays)
    assert (gone in texts(tmp_path), stays in texts(tmp_path)) == (False, True)


def test_a_line_goes_with_the_job_that_its_body_names_too(world: World, kept: FileSpool, tmp_path: Path) -> None:
    named, other = world.submit(), world.submit()
    body = b'{"status": "success", "track_id": "%b", "output": []}' % named.upper().encode()
    spool.keep(kept, [world.arrival(other, body)])
    (path,) = (tmp_path / "spool").iterdir()
    path.write_bytes(path.read_bytes().replace(b'"attempt":1', b'"attempt":"'))
    assert spool.drain(world.store, kept).unreadable == 1
    assert other in texts(tmp_path)
    erase_job(world.store, named, by="key:k", now=world.at)
    assert spool.scrub(world.store, kept) == 1
    assert other not in texts(tmp_path)
