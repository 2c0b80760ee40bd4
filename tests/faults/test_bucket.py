"""An archive in a bucket whose service stops, dies and comes back: no picture is lost, none is there twice."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import buckets
from tests.faults.proxy import proxy
from tests.flows.keeper import Keeper, png
from tests.flows.world import World
from webhook_app.domain.errors import StorageError
from webhook_app.domain.keys import blob_key
from webhook_app.pictures.inspect import PictureInspector
from webhook_app.storage.location import Bucket, location
from webhook_app.storage.s3 import S3Storage
from webhook_app.store.engine import Store


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[buckets.Service]:
    """One to be stopped and killed."""
    for name, value in buckets.KEYS.items():
        monkeypatch.setenv(name, value)
    with buckets.own_service() as service:
        yield service


@pytest.fixture
def keeper(store: Store, service: buckets.Service) -> Iterator[Keeper]:
    place = location(service.url("archive"))
    assert isinstance(place, Bucket)
    inspector = PictureInspector(max_bytes=1_000_000)
    yield Keeper(World(store), S3Storage(place, silence_s=0.5), inspector)
    inspector.close()


def fetched(keeper: Keeper, track_id: str) -> tuple[str, str | None]:
    """Where a picture stands after another try."""
    keeper.world.later(seconds=16)
    keeper.tick()
    (image,) = keeper.world.images(track_id)
    return image.status, image.reason


def test_pictures_wait_while_the_service_is_stopped_or_dead_and_are_stored_once_afterwards(
    keeper: Keeper, service: buckets.Service
) -> None:
    first, second = "https://known.example/1.png", "https://known.example/2.png"
    keeper.web.serve(first, png("red"))
    keeper.web.serve(second, png("blue"))
    one, two = keeper.succeeded(first), keeper.succeeded(second)

    os.kill(service.pid, signal.SIGSTOP)
    assert fetched(keeper, one) == ("pending", "archive_unavailable")
    os.kill(service.pid, signal.SIGCONT)
    assert fetched(keeper, one) == ("archived", None)

    later = "https://known.example/3.png"
    keeper.web.serve(later, png("green"))
    three = keeper.succeeded(later)
    buckets.kill(Path(service.folder))
    assert fetched(keeper, three) == ("pending", "archive_unavailable")
    buckets.run(Path(service.folder), service.ports)
    assert fetched(keeper, three) == ("archived", None)

    hashes = [keeper.world.images(track_id)[0].sha256 for track_id in (one, two, three)]
    contents = [b"".join(keeper.storage.read(blob_key(sha256))) for sha256 in hashes]
    assert contents == [png("red"), png("blue"), png("green")]
    blobs = [key for key in service.objects("archive") if "/blobs/" in key]
    assert blobs == sorted(f"archive/{blob_key(sha256)}" for sha256 in hashes)


def patient(service: buckets.Service, endpoint: str) -> S3Storage:
    """For a loaded machine, which may need long for 32 MB."""
    place = location(service.url("archive", endpoint=endpoint))
    assert isinstance(place, Bucket)
    return S3Storage(place, silence_s=60)


def test_a_service_that_dies_in_the_middle_of_a_put_has_all_of_it_or_nothing(
    service: buckets.Service, tmp_path: Path
) -> None:
    """It is stopped first, so that the put stands still where the buffers between the two are full."""
    source, key = tmp_path / "source", "blobs/large"
    source.write_bytes(os.urandom(32 << 20))
    with proxy(("127.0.0.1", service.ports["s3.port"])) as line, ThreadPoolExecutor(1) as threads:
        os.kill(service.pid, signal.SIGSTOP)
        putting = threads.submit(patient(service, f"http://127.0.0.1:{line.port}").replace, key, source, "image/png")
        line.sent.wait(1 << 20)
        buckets.kill(Path(service.folder))
        with pytest.raises(StorageError):
            putting.result(60)
    buckets.run(Path(service.folder), service.ports)
    storage = patient(service, service.endpoint)
    assert storage.size(key) is None
    storage.replace(key, source, "image/png")
    assert b"".join(storage.read(key)) == source.read_bytes()


def test_a_bucket_that_is_not_there_yet_is_waited_for(store: Store, s3: buckets.Service, tmp_path: Path) -> None:
    place = location(s3.url("archive", bucket="made-too-late"))
    assert isinstance(place, Bucket)
    inspector = PictureInspector(max_bytes=1_000_000)
    keeper = Keeper(World(store), S3Storage(place), inspector)
    source = "https://known.example/0.png"
    keeper.web.serve(source, png())
    track_id = keeper.succeeded(source)
    assert fetched(keeper, track_id) == ("pending", "archive_unavailable")
    inspector.close()
