"""Finding what belongs to no picture: each once, in the slice of digests where it stands."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.flows.keeper import Keeper
from tests.flows.test_collect import STRANGER, aged, left
from tests.flows.test_verify import archived
from tests.store import rows
from webhook_app.domain.keys import blob_key, listed_after, thumbnail_key
from webhook_app.flows import orphans as flow
from webhook_app.flows import verify
from webhook_app.flows.orphans import orphans
from webhook_app.storage.local import LocalStorage
from webhook_app.store.tables import Blob


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the archive's files lie."""
    return tmp_path / "archive"


def found(keeper: Keeper, after: str = "", until: str | None = None) -> list[str]:
    before = datetime.now(UTC) - timedelta(hours=1)
    return [e.key for e in orphans(keeper.world.store, keeper.storage, after=after, until=until, before=before)]


def sliced(keeper: Keeper, limit: int) -> list[list[str]]:
    """As `archive verify --all` goes through them."""
    pieces, cursor, until = list[list[str]](), "", ""
    while until is not None:
        blobs = verify.slice_after(keeper.world.store, cursor, limit=limit)
        until = blobs[-1].sha256 if len(blobs) == limit else None
        pieces.append(found(keeper, cursor, until))
        cursor = until or ""
    return pieces


@pytest.mark.parametrize("page", [2, 500])
def test_every_orphan_is_found_once_whatever_the_slices(
    keeper: Keeper, root: Path, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(flow, "PAGE", page)
    digests = sorted(archived(keeper, colour)[1] for colour in ("red", "green", "blue", "white", "black"))
    aged(root, hours_ago=1000)
    nearby = [digests[2][:-1] + ("0" if digests[2][-1] != "0" else "1"), digests[0][:4] + "0" * 60]
    strangers = [STRANGER, "0" * 64, "f" * 64, *nearby]
    lost = {key for sha256 in strangers for key in (blob_key(sha256), *(thumbnail_key(sha256, n) for n in (128, 512)))}
    lost |= {"blobs/notes.txt", "blobs/zz/zz/zzzz", f"blobs/00/00/{STRANGER}", "thumbnails/a"}
    for key in lost:
        left(root, key, hours_ago=2)
    left(root, blob_key("cd" * 32), hours_ago=0.5)
    for limit in (1, 2, 5, 10):
        pieces = sliced(keeper, limit)
        assert len(pieces) == 5 // limit + 1
        assert sorted(key for piece in pieces for key in piece) == sorted(lost)
    assert len(files := [path for path in root.rglob("*") if path.is_file()]) == 5 * 4 + len(lost) + 1, files


def test_what_has_a_row_or_goes_just_now_is_no_orphan(keeper: Keeper, root: Path) -> None:
    for state, digest in (("putting", "aa"), ("deleting", "bb"), ("stored", "cc")):
        left(root, blob_key(digest * 32), hours_ago=2)
        with keeper.world.store.writing() as connection:
            rows.add(connection, Blob, rows.blob(sha256=digest * 32, state=state))

    class Going(LocalStorage):
        def objects(self, folder, *, after=None, limit=1000):  # type: ignore[no-untyped-def]
            listed = super().objects(folder, after=after, limit=limit)
            (root / blob_key(STRANGER)).unlink(missing_ok=True)
            return listed

    left(root, blob_key(STRANGER), hours_ago=2)
    keeper.storage = Going(root)
    assert found(keeper) == []


def test_a_link_or_a_pipe_that_nobody_put_is_found(keeper: Keeper, root: Path, tmp_path: Path) -> None:
    (root / "blobs").mkdir(parents=True)
    (root / "blobs" / "link").symlink_to(tmp_path)
    os.mkfifo(root / "blobs" / "pipe")
    for name in ("link", "pipe"):
        os.utime(root / "blobs" / name, (time.time() - 7200,) * 2, follow_symlinks=False)
    assert found(keeper) == ["blobs/link", "blobs/pipe"]


@pytest.mark.parametrize("length", range(65))
def test_a_cursor_is_a_place_in_the_listing(length: int) -> None:
    """Behind everything of the digests that a slice left behind, before everything of those to come."""
    cursor = STRANGER[:length]
    earlier = [sha256 for sha256 in ("00" * 32, "ab" * 31 + "aa", cursor) if len(sha256) == 64 and sha256 <= cursor]
    later = [sha256 for sha256 in (STRANGER, "ab" * 31 + "ac", "ff" * 32) if sha256 > cursor]
    keys = (lambda d: ("blobs", blob_key(d)), lambda d: ("thumbnails", thumbnail_key(d, 512)))
    for key_of in keys:
        assert all(key <= listed_after(folder, cursor) for folder, key in map(key_of, earlier))
        assert all(key > listed_after(folder, cursor) for folder, key in map(key_of, later))
