"""Children that die of a picture, and disks without room: the picture is marked or waits, and the worker goes on."""

import errno
import tempfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image as Picture

from tests.flows.keeper import ONE, TWO, Keeper, png
from webhook_app.domain.errors import StorageError
from webhook_app.pictures.children import DecoderPool
from webhook_app.pictures.inspect import PictureInspector
from webhook_app.storage.local import LocalStorage

HUGE_SIDE = 9_000
MAX_BYTES = 10_000_000


@pytest.fixture(scope="module")
def huge() -> bytes:
    """81 million pixels of one colour, a few hundred kilobytes."""
    out = BytesIO()
    Picture.new("RGB", (HUGE_SIDE, HUGE_SIDE)).save(out, "PNG", compress_level=1)
    return out.getvalue()


@pytest.fixture
def limited() -> Iterator[Callable[..., PictureInspector]]:
    """An inspector whose children have these limits."""
    pools: list[DecoderPool] = []

    def make(memory_mb: int, cpu_s: int) -> PictureInspector:
        pools.append(DecoderPool(1, memory_mb, cpu_s, max_pixels=HUGE_SIDE**2))
        return PictureInspector(MAX_BYTES, pool=pools[-1])

    yield make
    for pool in pools:
        pool.close()


@pytest.mark.parametrize(
    ("memory_mb", "cpu_s", "reason"),
    # One second less than none: the kernel ends the child at its first look, however fast the machine is.
    [(100, 30, "bomb"), (1500, -1, "decoder_died")],
    ids=["too much memory", "too much CPU"],
)
def test_a_picture_beyond_a_child_s_limits_is_marked_and_the_next_one_is_archived(
    keeper: Keeper, limited: Callable[..., PictureInspector], huge: bytes, memory_mb: int, cpu_s: int, reason: str
) -> None:
    working, keeper.inspector = keeper.inspector, limited(memory_mb, cpu_s)
    keeper.web.serve(ONE, huge)
    keeper.web.serve(TWO, png())
    bad = keeper.succeeded(ONE)
    assert keeper.tick() == 1
    (image,) = keeper.world.images(bad)
    assert (image.status, image.reason) == ("lost", reason)
    assert keeper.world.events(bad)[-1] == "job.archive_failed"
    keeper.inspector = working
    good = keeper.succeeded(TWO)
    keeper.tick()
    assert keeper.world.images(good)[0].status == "archived"


def test_a_disk_that_fills_up_while_fetching_is_waited_for(keeper: Keeper) -> None:
    track_id = keeper.succeeded()
    keeper.web.serve(ONE, OSError(errno.ENOSPC, "No space left on device"), png())
    keeper.tick()
    (image,) = keeper.world.images(track_id)
    assert (image.status, image.reason, image.fetches) == ("pending", "disk_unavailable", 0)
    assert keeper.tick() == 0
    keeper.world.later(seconds=16)
    keeper.tick()
    assert keeper.world.images(track_id)[0].status == "archived"


def test_no_folder_to_work_in_is_waited_for(keeper: Keeper, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    track_id = keeper.succeeded()
    keeper.web.serve(ONE, png())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    keeper.tick()
    assert keeper.world.images(track_id)[0].reason == "disk_unavailable"
    (tmp_path / "missing").mkdir()
    keeper.world.later(seconds=16)
    keeper.tick()
    assert keeper.world.images(track_id)[0].status == "archived"
    assert list((tmp_path / "missing").iterdir()) == []


def test_a_full_disk_at_the_deadline_loses_nothing(keeper: Keeper) -> None:
    track_id = keeper.succeeded()
    keeper.web.serve(ONE, OSError(errno.ENOSPC, "No space left on device"), png())
    keeper.world.later(hours=25)
    keeper.tick()
    keeper.world.later(seconds=16)
    keeper.tick()
    assert keeper.world.images(track_id)[0].status == "archived"


def test_an_error_of_the_archive_leaves_no_row_that_says_archived(keeper: Keeper) -> None:
    class Failing(LocalStorage):
        def put_if_absent(self, key: str, source: Path, content_type: str) -> bool:
            super().put_if_absent(key, source, content_type)
            raise StorageError("the directory could not be synced")

    track_id = keeper.succeeded()
    keeper.web.serve(ONE, png())
    working = keeper.storage
    keeper.storage = Failing(Path(working._root))
    keeper.tick()
    assert (keeper.world.images(track_id)[0].status, keeper.world.job(track_id).archive_status) == ("pending",) * 2
    keeper.storage = working
    keeper.world.later(seconds=16)
    keeper.tick()
    assert keeper.world.images(track_id)[0].status == "archived"
