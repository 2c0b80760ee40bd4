"""Erasing with a worker that dies at every point, an archive that is away, and others who do something else to the
same jobs and the same bytes meanwhile."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from tests.flows.erasing import Eraser
from tests.flows.keeper import ONE, png
from tests.flows.world import success
from webhook_app.domain.errors import StorageError
from webhook_app.domain.keys import blob_key
from webhook_app.store.engine import Store
from webhook_app.store.tables import Blob, Erasure

HANDS = 4


class Death(BaseException):
    """The worker is gone."""


class Mortal:
    """A store whose user dies at its nth transaction: before it, or right after its commit."""

    def __init__(self, store: Store, *, at: int, after_commit: bool) -> None:
        self.store, self.left, self.after_commit = store, at, after_commit

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        self.left -= 1
        if self.left < 0 and not self.after_commit:
            raise Death
        with self.store.writing() as connection:
            yield connection
        if self.left < 0:
            raise Death


class Archive:
    """An archive that does as it is told before, or instead of, an act."""

    def __init__(self, storage: Any) -> None:
        self.storage = storage
        self.before: dict[str, Callable[[], None]] = {}

    def __getattr__(self, name: str) -> Any:
        def act(*words: Any) -> Any:
            self.before.get(name, lambda: None)()
            return getattr(self.storage, name)(*words)

        return act


def everything_is_gone(eraser: Eraser, folder: Path) -> None:
    assert {row.status for row in eraser.world.rows(Erasure)} == {"done"}
    assert eraser.world.rows(Blob) == []
    assert [path for path in (folder / "archive").rglob("*") if path.is_file()] == []
    for row in eraser.world.rows(Erasure):
        assert eraser.world.job(row.track_id).input == {}
        assert [image.status for image in eraser.world.images(row.track_id)] == ["erased"]


@pytest.mark.parametrize("after_commit", [False, True])
def test_a_worker_may_die_at_any_point(eraser: Eraser, tmp_path: Path, after_commit: bool) -> None:
    deaths = 0
    for at in range(30):
        eraser.ask(eraser.archived())
        eraser.ask(eraser.archived(colour="blue"))
        try:
            eraser.go_on(Mortal(eraser.world.store, at=at, after_commit=after_commit))  # type: ignore[arg-type]
        except Death:
            deaths += 1
            eraser.world.later(minutes=15, seconds=1)
            eraser.finish()
        everything_is_gone(eraser, tmp_path)
        if deaths <= at:
            break
    assert deaths > 6


def test_an_archive_that_is_away_is_waited_for(eraser: Eraser, tmp_path: Path) -> None:
    archive = Archive(eraser.storage)
    eraser.storage = archive

    def fail() -> None:
        raise StorageError("away")

    archive.before["delete"] = fail
    erasure_id = eraser.ask(eraser.archived())
    for _ in range(3):
        eraser.go_on()
        eraser.world.later(seconds=30)
    assert eraser.erasure(erasure_id).status == "running"
    assert (eraser.world.rows(Blob)[0].state, eraser.world.rows(Blob)[0].remove_tries) == ("deleting", 3)
    archive.before.clear()
    eraser.finish()
    everything_is_gone(eraser, tmp_path)


@pytest.mark.parametrize("when", ["put_if_absent", "fetch"])
def test_bytes_that_go_while_another_job_puts_them_are_put_again(eraser: Eraser, when: str) -> None:
    world, keeper = eraser.world, eraser.keeper
    first = eraser.archived()
    archive = Archive(eraser.storage)
    keeper.storage = archive

    def meanwhile() -> None:
        archive.before.clear()
        keeper.web.during = None
        eraser.ask(first)
        eraser.finish()

    if when == "put_if_absent":
        archive.before[when] = meanwhile
    else:
        keeper.web.during = meanwhile
    second = keeper.succeeded()
    keeper.tick()
    world.later(seconds=60)
    keeper.tick()
    (image,) = world.images(second)
    assert image.status == "archived"
    assert b"".join(eraser.storage.read(blob_key(image.sha256))) == png()
    assert [(row.state, row.reference_count) for row in world.rows(Blob)] == [("stored", 1)]


def test_bytes_that_are_being_removed_are_neither_put_nor_shown(eraser: Eraser) -> None:
    world, keeper = eraser.world, eraser.keeper
    first = eraser.archived()
    archive = Archive(eraser.storage)
    eraser.storage = archive
    second = keeper.succeeded()

    def meanwhile() -> None:
        archive.before.clear()
        keeper.tick()
        assert world.images(second)[0].reason == "archive_unavailable"

    archive.before["delete"] = meanwhile
    eraser.ask(first)
    eraser.go_on()
    world.later(seconds=60)
    keeper.tick()
    (image,) = world.images(second)
    assert b"".join(eraser.storage.read(blob_key(image.sha256))) == png()


def test_callbacks_and_erasing_at_once_leave_no_body(eraser: Eraser) -> None:
    for n in range(8):
        _erase_while_it_is_reported(eraser, eraser.archived(), n)
        assert {row.body for row in eraser.world.callbacks()} == {None}


def _erase_while_it_is_reported(eraser: Eraser, track_id: str, n: int) -> None:
    world = eraser.world
    bodies = [world.body(success(), salt=str(n)), b"unreadable %d" % n, world.body(None, salt=str(n))]
    acts: list[Callable[[], object]] = [
        *(lambda body=body: world.receive(world.arrival(track_id, body)) for body in bodies),
        lambda: eraser.ask(track_id),
        eraser.go_on,
    ]
    with ThreadPoolExecutor(len(acts)) as pool:
        for done in [pool.submit(act) for act in acts]:
            done.result()
    eraser.finish()
    assert world.job(track_id).provider_meta == {}


def test_several_workers_erase_each_job_once(eraser: Eraser, tmp_path: Path) -> None:
    world = eraser.world
    for n in range(6):
        eraser.ask(eraser.archived(colour=("red", "blue")[n % 2]))
    with ThreadPoolExecutor(HANDS) as pool:
        list(pool.map(lambda _: eraser.go_on(), range(HANDS)))
    eraser.finish()
    everything_is_gone(eraser, tmp_path)
    assert len(world.script.asked_to_delete) == 6


def test_many_who_share_bytes_come_and_go_at_once(eraser: Eraser) -> None:
    """Whatever comes first, an archived picture has its bytes, and nothing else is left in the end."""
    world, keeper = eraser.world, eraser.keeper
    keeper.web.serve(ONE, png())
    gone = [eraser.archived() for _ in range(3)]
    stay = [keeper.succeeded() for _ in range(3)]

    def archive() -> None:
        for _ in range(3):
            keeper.tick()

    def erase(track_id: str) -> None:
        eraser.ask(track_id)
        eraser.go_on()

    with ThreadPoolExecutor(HANDS) as pool:
        for done in [pool.submit(archive), *(pool.submit(erase, track_id) for track_id in gone)]:
            done.result()
    eraser.finish()
    world.later(minutes=5)
    keeper.tick()
    assert [row.status for track_id in stay for row in world.images(track_id)] == ["archived"] * 3
    (blob,) = world.rows(Blob)
    assert (blob.state, blob.reference_count) == ("stored", 3)
    assert b"".join(eraser.storage.read(blob_key(blob.sha256))) == png()
