"""Removing bytes: what cannot be removed holds up nobody, and what somebody is putting is waited for."""

import hashlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.flows.erasing import Eraser
from tests.flows.keeper import ONE, Keeper, png
from tests.flows.test_erase_faults import Archive, Death, everything_is_gone
from tests.store import rows
from webhook_app.domain.errors import StorageError
from webhook_app.domain.keys import blob_key
from webhook_app.flows.collect import collect_unreferenced
from webhook_app.flows.removal import ENOUGH
from webhook_app.storage.local import LocalStorage
from webhook_app.store import blobs
from webhook_app.store.tables import Blob, Image

AGES = timedelta(days=1)


class Stubborn(LocalStorage):
    """An archive in which some objects cannot be removed."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.stuck: set[str] = set()

    def delete(self, key: str) -> None:
        if key in self.stuck:
            raise StorageError("permission denied")
        super().delete(key)


def stubborn(eraser: Eraser, tmp_path: Path, *, older: int = 0) -> Stubborn:
    """The eraser's archive from now on, with so many old bytes that nobody shows and nobody can remove."""
    eraser.storage = Stubborn(tmp_path / "archive")
    for n in range(older):
        row = rows.blob(sha256=f"{n:064x}", state="deleting", created_at=eraser.world.at - AGES, thumbnails=[])
        with eraser.world.store.writing() as connection:
            rows.add(connection, Blob, row)
        eraser.storage.stuck.add(blob_key(row["sha256"]))
    return eraser.storage


def files(folder: Path) -> list[Path]:
    return [path for path in (folder / "archive").rglob("*") if path.is_file()]


def in_the_middle_of_its_put(keeper: Keeper, act: Callable[[], object], *, then_dies: bool = False) -> None:
    """Let an archiver work; the act is done when its row says `putting` and its bytes are not there yet."""
    working, done = keeper.storage, list[bool]()

    class Watched(LocalStorage):
        def put_if_absent(self, key: str, source: Path, content_type: str) -> bool:
            if not done:
                done.append(True)
                act()
            made = super().put_if_absent(key, source, content_type)
            if then_dies:
                raise Death
            return made

    keeper.storage = Watched(working._root)  # type: ignore[attr-defined]
    try:
        keeper.tick()
    except Death:
        assert then_dies
    finally:
        keeper.storage = working
    assert done


def test_an_object_that_cannot_be_removed_stops_its_own_erasure_alone(eraser: Eraser, tmp_path: Path) -> None:
    red, blue = eraser.archived(), eraser.archived(colour="blue")
    archive = stubborn(eraser, tmp_path, older=120)
    key = blob_key(eraser.world.images(red)[0].sha256)
    archive.stuck.add(key)
    stuck, free = eraser.ask(red), eraser.ask(blue)
    eraser.go_on()
    assert [eraser.erasure(each).status for each in (stuck, free)] == ["running", "done"]
    assert eraser.world.job(red).input == {}
    archive.stuck.remove(key)
    eraser.finish()
    assert eraser.erasure(stuck).status == "done"
    assert (files(tmp_path), len(eraser.world.rows(Blob))) == ([], 120)


def test_what_cannot_be_removed_is_tried_again_later_and_later(eraser: Eraser, tmp_path: Path) -> None:
    archive = stubborn(eraser, tmp_path)
    track_id = eraser.archived()
    archive.stuck.add(blob_key(eraser.world.images(track_id)[0].sha256))
    eraser.ask(track_id)
    for _ in range(60):
        eraser.go_on()
        eraser.world.later(seconds=10)
    (blob,) = eraser.world.rows(Blob)
    assert 5 <= blob.remove_tries <= 9
    archive.stuck.clear()
    eraser.world.later(hours=1)
    eraser.finish()
    everything_is_gone(eraser, tmp_path)


def test_an_archive_that_is_away_is_left_alone_after_some_tries(eraser: Eraser, tmp_path: Path) -> None:
    stubborn(eraser, tmp_path, older=50)
    eraser.go_on()
    tried = [row.remove_tries for row in eraser.world.rows(Blob)]
    assert (sum(tried), max(tried)) == (ENOUGH, 1)
    assert sum(row.lease_until is None for row in eraser.world.rows(Blob)) == 50 - ENOUGH


def test_collecting_goes_on_past_what_cannot_be_removed(eraser: Eraser, tmp_path: Path) -> None:
    stubborn(eraser, tmp_path, older=2)
    for digest in ("aa" * 32, "bb" * 32):
        with eraser.world.store.writing() as connection:
            rows.add(connection, Blob, rows.blob(sha256=digest, state="deleting", created_at=eraser.world.at))
    found = collect_unreferenced(eraser.world.store, eraser.storage, dry_run=False, clock=eraser.world.now)
    assert (found.count, found.failed) == (2, 2)
    assert [row.state for row in eraser.world.rows(Blob)] == ["deleting"] * 2


def test_an_erasure_is_not_done_before_a_picture_under_way_is_discarded(eraser: Eraser, tmp_path: Path) -> None:
    track_id = eraser.keeper.succeeded()
    eraser.keeper.web.serve(ONE, png())
    asked: list[str] = []

    def meanwhile() -> None:
        asked.append(eraser.ask(track_id))
        eraser.go_on()

    in_the_middle_of_its_put(eraser.keeper, meanwhile)
    assert files(tmp_path) != []
    assert eraser.erasure(asked[0]).status == "running"
    eraser.world.later(seconds=3)
    eraser.go_on()
    everything_is_gone(eraser, tmp_path)


def test_a_picture_whose_archiver_dies_is_waited_for_too(eraser: Eraser, tmp_path: Path) -> None:
    track_id = eraser.keeper.succeeded()
    eraser.keeper.web.serve(ONE, png())
    asked: list[str] = []
    in_the_middle_of_its_put(eraser.keeper, lambda: asked.append(eraser.ask(track_id)), then_dies=True)
    for _ in range(9):
        eraser.go_on()
        assert eraser.erasure(asked[0]).status == "running"
        eraser.world.later(minutes=1)
    eraser.world.later(minutes=2)
    eraser.finish()
    everything_is_gone(eraser, tmp_path)


def test_bytes_that_are_put_after_they_were_removed_with_another_job_are_found(eraser: Eraser, tmp_path: Path) -> None:
    """The archiver began while another job showed the same bytes, and died when their row was gone."""
    first, second = eraser.archived(), eraser.keeper.succeeded()

    def meanwhile() -> None:
        eraser.ask(first)
        eraser.finish()

    in_the_middle_of_its_put(eraser.keeper, meanwhile, then_dies=True)
    assert (len(files(tmp_path)), eraser.world.rows(Blob)) == (1, [])
    erasure_id = eraser.ask(second)
    eraser.go_on()
    assert eraser.erasure(erasure_id).status == "running"
    eraser.finish()
    everything_is_gone(eraser, tmp_path)


def test_bytes_that_are_put_while_they_are_removed_are_removed_again(eraser: Eraser, tmp_path: Path) -> None:
    """Both jobs that have them are erased. The archiver of one puts them and says so between the removal of the objects
    and that of the row."""
    first, second = eraser.archived(), eraser.keeper.succeeded()
    archive = Archive(eraser.storage)
    eraser.storage = archive
    at_put, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        at_put.set()
        assert go_on.wait(10)

    archiver = threading.Thread(target=in_the_middle_of_its_put, args=(eraser.keeper, wait))
    archiver.start()
    assert at_put.wait(10)
    deletes: list[int] = []

    def after_the_first() -> None:
        deletes.append(1)
        if len(deletes) == 2:  # The bytes themselves are gone by now.
            go_on.set()
            archiver.join()

    archive.before["delete"] = after_the_first
    eraser.ask(first)
    eraser.ask(second)
    eraser.go_on()
    eraser.world.later(seconds=3)
    eraser.finish()
    everything_is_gone(eraser, tmp_path)


def test_what_somebody_puts_anew_is_not_abandoned(eraser: Eraser) -> None:
    """A dead archiver's row is old; another one puts the same bytes just now."""
    world, keeper = eraser.world, eraser.keeper
    track_id = keeper.succeeded()
    keeper.web.serve(ONE, png())
    in_the_middle_of_its_put(keeper, lambda: None, then_dies=True)
    world.later(minutes=11)
    in_the_middle_of_its_put(keeper, eraser.go_on)
    (image,), (blob,) = world.images(track_id), world.rows(Blob)
    assert (image.status, blob.state, blob.reference_count) == ("archived", "stored", 1)
    assert b"".join(eraser.storage.read(blob_key(image.sha256))) == png()


def sha256_of(colour: str) -> str:
    return hashlib.sha256(png(colour)).hexdigest()


def waiting_for_locks(eraser: Eraser, count: int) -> None:
    """Until so many wait in PostgreSQL; on SQLite there is one who writes, and nobody to see."""
    store, until = eraser.world.store, time.monotonic() + 10
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    while not store.is_sqlite and time.monotonic() < until:
        with store.reading() as connection:
            if connection.scalar(waiting) == count:
                return


def test_two_who_change_bytes_for_each_other_s_do_not_wait_in_a_circle(eraser: Eraser, tmp_path: Path) -> None:
    """One shows the lower digest and brings the higher one, the other the reverse; both meet at the lower one."""
    world, keeper = eraser.world, eraser.keeper
    colours = sorted(("red", "blue"), key=sha256_of)
    jobs = {colour: eraser.archived(colour=colour) for colour in colours}
    for colour in colours:  # Others show them too, so that nothing goes.
        eraser.archived(colour=colour)
    brings = {jobs[colours[1]]: colours[0], jobs[colours[0]]: colours[1]}
    with world.store.writing() as connection:
        for track_id, colour in brings.items():
            url = f"https://known.example/{colour}.png"
            keeper.web.serve(url, png(colour))
            again = {"status": "pending", "fetch_at": world.at, "sources": [url]}
            connection.execute(Image.__table__.update().where(Image.track_id == track_id).values(**again))
    at_put, may_go_on = threading.Semaphore(0), {sha256_of(colour): threading.Event() for colour in colours}

    class Watched(LocalStorage):
        def put_if_absent(self, key: str, source: Path, content_type: str) -> bool:
            if key.startswith("blobs/"):
                at_put.release()
                assert may_go_on[key.rpartition("/")[2]].wait(10)
            return super().put_if_absent(key, source, content_type)

    keeper.storage = Watched(tmp_path / "archive")
    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(keeper.copy, claim) for claim in keeper.claim()]
        assert [at_put.acquire(timeout=10) for _ in done] == [True, True]
        with world.store.writing() as connection:
            blobs.lock(connection, [sha256_of(colours[0])])
            for n, colour in enumerate(colours, start=1):
                may_go_on[sha256_of(colour)].set()
                waiting_for_locks(eraser, n)
        for each in done:
            each.result()
    assert [world.images(track_id)[0].status for track_id in brings] == ["archived"] * 2
    assert [row.reference_count for row in world.rows(Blob)] == [2, 2]


@pytest.mark.parametrize("times", [1, 2])
def test_removing_the_same_twice_at_once_removes_it_once(eraser: Eraser, tmp_path: Path, times: int) -> None:
    eraser.ask(eraser.archived())
    threads = [threading.Thread(target=eraser.go_on) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    eraser.finish()
    everything_is_gone(eraser, tmp_path)
