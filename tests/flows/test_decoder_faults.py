"""Children that die of a picture, and disks without room: the picture is marked or waits, and the worker goes on."""

import errno
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image as Picture

from tests.flows.keeper import ONE, TWO, Keeper, png
from webhook_app.domain.errors import NotAPicture, StorageError
from webhook_app.pictures.children import DecoderPool
from webhook_app.pictures.inspect import PictureInspector
from webhook_app.pictures.port import Inspected
from webhook_app.storage.local import LocalStorage

HUGE_SIDE = 9_000


@dataclass
class Acting:
    """An inspector that does so."""

    inspect: Callable[..., Inspected]


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


# One second less than none: the kernel ends the child at its first look, however fast the machine is.
TOO_MUCH_CPU = (1500, -1)


@pytest.mark.parametrize(
    ("limits", "status", "reason"),
    [((100, 30), "lost", "bomb"), (TOO_MUCH_CPU, "pending", "decoder_died")],
    ids=["too much memory", "too much CPU"],
)
def test_a_picture_beyond_a_child_s_limits_is_marked_and_the_next_one_is_archived(
    keeper: Keeper,
    limited: Callable[..., PictureInspector],
    huge: bytes,
    limits: tuple[int, int],
    status: str,
    reason: str,
) -> None:
    working, keeper.inspector = keeper.inspector, limited(*limits)
    keeper.web.serve(ONE, huge)
    keeper.web.serve(TWO, png())
    bad = keeper.succeeded(ONE)
    assert keeper.tick() == 1
    (image,) = keeper.world.images(bad)
    assert (image.status, image.reason) == (status, reason)
    assert ("job.archive_failed" in keeper.world.events(bad)) == (status == "lost")
    keeper.inspector = working
    good = keeper.succeeded(TWO)
    keeper.tick()
    assert keeper.world.images(good)[0].status == "archived"


def test_a_picture_that_ended_its_decoder_once_is_archived_later(
    keeper: Keeper, limited: Callable[..., PictureInspector]
) -> None:
    """The machine had no memory left, say, and the kernel took it where it found it."""
    working, keeper.inspector = keeper.inspector, limited(*TOO_MUCH_CPU)
    keeper.web.serve(ONE, png())
    track_id = keeper.succeeded()
    keeper.tick()
    keeper.inspector = working
    assert keeper.tick() == 0
    keeper.world.later(minutes=1)
    keeper.tick()
    assert keeper.world.images(track_id)[0].status == "archived"


def test_a_picture_that_ends_every_decoder_is_tried_rarely_and_lost_at_its_deadline(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def die(path: Path, *, base64_text: bool) -> Inspected:
        tries.append(keeper.world.at)
        raise NotAPicture("decoder_died")

    track_id = keeper.succeeded()
    keeper.web.serve(ONE, png())
    end = keeper.world.at + timedelta(hours=24)
    monkeypatch.setattr(keeper, "inspector", Acting(die))
    while (image := keeper.world.images(track_id)[0]).status == "pending":
        assert image.reason in {None, "decoder_died"}
        keeper.world.at = max(keeper.world.at, image.fetch_at)
        keeper.tick()
    assert (image.status, image.reason, keeper.world.at) == ("lost", "decoder_died", end)
    assert 15 < len(tries) < 40
    pauses = [after - before for before, after in pairwise(tries)]
    assert pauses[0] >= timedelta(seconds=30)
    assert max(pauses) <= timedelta(hours=2)


@pytest.mark.parametrize("hours", [0, 25])
def test_without_a_decoder_pictures_wait_whatever_their_deadline(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    working, keeper.inspector = keeper.inspector, PictureInspector(MAX_BYTES)
    keeper.web.serve(ONE, png())
    track_id = keeper.succeeded()
    keeper.world.later(hours=hours)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/missing/python")
        keeper.tick()
    (image,) = keeper.world.images(track_id)
    assert (image.status, image.reason, image.fetches) == ("pending", "decoder_unavailable", 0)
    keeper.inspector = working
    keeper.world.later(seconds=16)
    keeper.tick()
    assert keeper.world.images(track_id)[0].status == "archived"


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
