"""Mending while others erase, archive and die: whoever meets whom, no bytes are lost and none are left."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from tests.flows.erasing import Eraser
from tests.flows.keeper import Keeper, png
from tests.flows.test_erase_faults import Death, Mortal
from tests.flows.test_mend import Meeting
from tests.flows.test_verify import archived, means, statuses, verified
from webhook_app.domain.errors import StorageError
from webhook_app.domain.keys import blob_key, thumbnail_key
from webhook_app.flows import mend, verify
from webhook_app.flows.removal import remove_unreferenced
from webhook_app.storage.local import LocalStorage
from webhook_app.store.tables import Blob, Image


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the archive's files lie."""
    return tmp_path / "archive"


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def test_bytes_that_another_archiver_puts_just_now_are_not_taken_away(eraser: Eraser, root: Path) -> None:
    """The mender was stopped for so long that the bytes were erased, and come anew for another job."""
    keeper, world = eraser.keeper, eraser.world
    track_id, sha256 = archived(keeper)
    (root / blob_key(sha256)).unlink()
    later: list[str] = []

    def erased_and_put_anew() -> None:
        keeper.storage = LocalStorage(root)
        world.later(minutes=16)
        eraser.ask(track_id)
        eraser.finish()
        assert world.rows(Blob) == []
        keeper.web.during = None
        later.append(keeper.succeeded())
        (claim,) = keeper.claim()
        keeper.storage = Meeting(root, "put", thumbnail_key(sha256, 512), away)
        keeper.copy(claim)

    def away() -> None:
        """The archiver has put the bytes, and does not come to say so."""
        assert [blob.state for blob in world.rows(Blob)] == ["putting"]
        raise StorageError("the archive is away for a moment")

    keeper.web.during = erased_and_put_anew
    (finding,) = verified(keeper)
    assert (finding.problem, finding.lost) == (mend.ERASED, 0)
    assert (root / blob_key(sha256)).read_bytes() == png("red")
    keeper.storage = LocalStorage(root)
    world.later(seconds=31)
    keeper.tick()
    assert statuses(keeper, later[0]) == ([("archived", None)], "archived")
    assert verified(keeper) == []


def test_what_is_erased_while_it_is_mended_goes_once_the_mender_is_done(eraser: Eraser, root: Path) -> None:
    keeper, world = eraser.keeper, eraser.world
    track_id, sha256 = archived(keeper)
    (root / blob_key(sha256)).unlink()

    def erase() -> None:
        eraser.ask(track_id)
        eraser.go_on()
        assert [blob.state for blob in world.rows(Blob)] == ["deleting"]

    keeper.web.during = erase
    (finding,) = verified(keeper)
    assert (finding.repaired, finding.problem) == (False, mend.ERASED)
    # Its lease ended with it: nobody has to wait.
    assert remove_unreferenced(world.store, keeper.storage, clock=world.now).count == 1
    assert (files(root), world.rows(Blob)) == ([], [])


def test_a_mender_that_died_holds_the_bytes_for_a_while_only(keeper: Keeper, root: Path) -> None:
    def die() -> None:
        raise Death

    _, sha256 = archived(keeper)
    (root / blob_key(sha256)).unlink()
    keeper.web.during = die
    with pytest.raises(Death):
        verified(keeper)
    keeper.web.during = None
    # A dying process runs no `finally`, so its lease stays.
    with keeper.world.store.writing() as connection:
        connection.execute(update(Blob).values(lease_until=keeper.world.at + mend.HELD))
    assert [finding.problem for finding in verified(keeper)] == [mend.HELD_BY_OTHERS]
    keeper.world.later(minutes=15, seconds=1)
    assert [finding.repaired for finding in verified(keeper)] == [True]


def test_bytes_that_are_put_after_their_row_went_are_not_forgotten(eraser: Eraser, root: Path) -> None:
    """A worker was stopped between its look at the row and its put, and the last other picture of them was erased."""
    keeper, world = eraser.keeper, eraser.world
    first = eraser.archived()
    sha256 = world.images(first)[0].sha256
    second = keeper.succeeded()
    (claim,) = keeper.claim()

    def erased() -> None:
        eraser.ask(first)
        eraser.finish()
        assert world.rows(Blob) == []
        world.later(minutes=1)
        keeper.claim("somebody else")

    keeper.storage = Meeting(root, "put", blob_key(sha256), erased)
    keeper.copy(claim)
    assert (world.images(second)[0].status, len(files(root))) == ("pending", 4)
    eraser.ask(second)
    world.later(minutes=11)
    eraser.finish()
    assert (files(root), world.rows(Blob)) == ([], [])


def test_bytes_that_are_put_while_they_are_removed_are_removed_once_more(eraser: Eraser, root: Path) -> None:
    """The same, and the put comes between the removal and the end of the row."""
    keeper, world = eraser.keeper, eraser.world
    first = eraser.archived()
    sha256 = world.images(first)[0].sha256
    second = keeper.succeeded()
    (claim,) = keeper.claim()
    looked, deleted = threading.Event(), threading.Event()

    def wait() -> None:
        looked.set()
        assert deleted.wait(30)

    class Slow(LocalStorage):
        def delete(self, key: str) -> None:
            super().delete(key)
            if key == thumbnail_key(sha256, 512):
                deleted.set()
                copied.result(30)

    keeper.storage, eraser.storage = Meeting(root, "put", blob_key(sha256), wait), Slow(root)
    with ThreadPoolExecutor(1) as threads:
        copied = threads.submit(keeper.copy, claim)
        assert looked.wait(30)
        eraser.ask(first)
        eraser.ask(second)
        eraser.go_on()
    assert ([blob.state for blob in world.rows(Blob)], len(files(root))) == (["deleting"], 4)
    eraser.storage = LocalStorage(root)
    eraser.finish()
    assert (files(root), world.rows(Blob)) == ([], [])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("after_commit", [False, True])
def test_a_verifier_may_die_at_any_point(eraser: Eraser, root: Path, after_commit: bool) -> None:
    """Before or after each of its transactions, while it mends, loses or finds again."""
    keeper, world = eraser.keeper, eraser.world
    archived(keeper, "white")
    deaths = 0
    for at in range(40):
        expired, dead = archived(keeper, "green")
        world.later(hours=25)
        _, living = archived(keeper, "red")
        for sha256 in (living, dead):
            (root / blob_key(sha256)).unlink()
        try:
            with_store(keeper, Mortal(world.store, at=at, after_commit=after_commit))
        except Death:
            deaths += 1
        world.later(minutes=16)
        verified(keeper)
        assert statuses(keeper, expired)[1] == "lost"
        assert keeper.world.events(expired).count("job.archive_failed") == 1
        assert (root / blob_key(living)).read_bytes() == png("red")
        (root / blob_key(dead)).write_bytes(png("green"))
        assert [finding.found_again for finding in verified(keeper) if finding.sha256 == dead] == [
            len(world.rows(Image, Image.sha256 == dead))
        ]
        if deaths <= at:
            break
    assert deaths > 5


def with_store(keeper: Keeper, store: Any) -> None:
    for blob in verify.slice_after(keeper.world.store, "", limit=1000):
        verify.verify(replace(means(keeper), store=store), blob, repair=True)


@pytest.mark.timeout(300)
def test_archiving_erasing_verifying_and_damage_at_once(eraser: Eraser, root: Path) -> None:
    """Whoever meets whom at the same bytes: an archived picture has its bytes in the end, and nothing else is left."""
    world, keeper = eraser.world, eraser.keeper
    sources = {colour: f"https://known.example/{colour}.png" for colour in ("red", "green", "blue")}
    for colour, source in sources.items():
        keeper.web.serve(source, png(colour))
    gone = [keeper.succeeded(source) for source in sources.values() for _ in range(2)]
    keeper.tick()
    stay = [keeper.succeeded(source) for source in sources.values() for _ in range(2)]

    def archive() -> None:
        for _ in range(4):
            keeper.tick()

    def erase() -> None:
        for track_id in gone:
            eraser.ask(track_id)
            eraser.go_on()

    def look_through() -> None:
        for _ in range(4):
            verified(keeper)

    def damage() -> None:
        for turn in range(12):
            for path in sorted(root.glob("*/*/*/*"))[turn::5]:
                with suppress(FileNotFoundError):
                    path.unlink() if turn % 2 else os.truncate(path, 10)

    with ThreadPoolExecutor(5) as threads:
        for done in [threads.submit(act) for act in (archive, erase, look_through, look_through, damage)]:
            done.result()
    for _ in range(3):
        world.later(minutes=16)
        eraser.finish()
        keeper.tick()
        verified(keeper)
    assert verified(keeper) == []
    assert [row.status for track_id in stay for row in world.images(track_id)] == ["archived"] * 6
    assert [(row.state, row.reference_count) for row in world.rows(Blob)] == [("stored", 2)] * 3
    assert len(files(root)) == 3 * 4
