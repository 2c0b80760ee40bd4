"""The archive against an emulator whose pictures are of every kind of badness (F17, H9): real HTTP, real bytes."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.flows.keeper import Keeper
from tests.flows.world import World
from webhook_app.domain.outcome import Finished, Picture
from webhook_app.emulator.options import EmulatorOptions
from webhook_app.emulator.serve import serve
from webhook_app.net.fetch import GuardedFetcher
from webhook_app.pictures.inspect import PictureInspector
from webhook_app.storage.local import LocalStorage
from webhook_app.store.engine import Store
from webhook_app.store.tables import Blob

PATIENCE_S = 20


class Gallery:
    """One emulator, told again for each test; its pictures are fetched as production does."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = requests.Session()
        self.http.trust_env = False

    def picture(self, **options: Any) -> str:
        """The URL of a picture that behaves so."""
        told = {"picture_kind": "png", "picture_transfer": "whole", "picture_fault": "none"}
        told |= {"redirects_length": 4, "lifetime_s": 86_400}
        self.post("/_emulator/config", told | options)
        body = {"key": "any", "prompt": "a lighthouse", "width": 512, "height": 256, "seed": 1}
        return str(self.post("/api/v1/enterprise/flux/text2img", body)["output"][0])

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return dict(self.http.post(self.url + path, json=body, timeout=PATIENCE_S).json())

    def served(self) -> list[str | None]:
        """The digests that the ledger names, in order."""
        entries = self.http.get(f"{self.url}/_emulator/ledger?kind=picture", timeout=PATIENCE_S).json()["entries"]
        return [entry.get("sha256") for entry in entries]


@pytest.fixture(scope="module")
def gallery() -> Iterator[Gallery]:
    stop, ready = threading.Event(), queue.Queue[str]()
    told = EmulatorOptions(delay_s=0.0, wait_s=10.0)
    thread = threading.Thread(target=serve, args=(told,), kwargs={"ready": ready.put, "stop": stop}, daemon=True)
    thread.start()
    yield Gallery(ready.get(timeout=PATIENCE_S))
    stop.set()
    thread.join(PATIENCE_S)


@pytest.fixture(scope="module")
def inspector() -> Iterator[PictureInspector]:
    made = PictureInspector(max_bytes=10_000_000)
    yield made
    made.close()


Archive = Callable[[str], tuple[Any, Keeper]]


@pytest.fixture
def archive(store: Store, tmp_path: Path, inspector: PictureInspector, gallery: Gallery) -> Archive:
    """Archives the picture at a URL once; the picture's row, and its keeper."""

    def once(url: str) -> tuple[Any, Keeper]:
        keeper = Keeper(World(store), LocalStorage(tmp_path / "archive"), inspector)
        keeper.web = GuardedFetcher(frozenset(), frozenset({gallery.url.partition("://")[2]}), total_timeout_s=2)
        track_id = keeper.world.submit()
        keeper.world.send(Finished((Picture(0, (url,)),)))
        keeper.tick()
        return keeper.world.images(track_id)[0], keeper

    return once


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "trailing_html", "trailing_zip", "blank"])
def test_what_was_served_is_archived_bit_by_bit(archive: Archive, gallery: Gallery, kind: str) -> None:
    image, keeper = archive(gallery.picture(picture_kind=kind))
    assert (image.status, image.sha256) == ("archived", gallery.served()[-1])
    (blob,) = keeper.world.rows(Blob)
    assert (blob.trailing_bytes > 0) == kind.startswith("trailing")
    assert (blob.width, blob.height) == (512, 256)


@pytest.mark.parametrize(
    ("kind", "status", "reasons"),
    [
        ("truncated", "pending", {"truncated"}),
        ("crc", "pending", {"broken", "truncated"}),
        ("svg", "pending", {"not_a_picture"}),
        ("bomb", "lost", {"bomb"}),
        ("gif", "lost", {"unsupported_format"}),
    ],
)
def test_what_is_no_picture_is_not_archived(
    archive: Archive, gallery: Gallery, kind: str, status: str, reasons: set[str]
) -> None:
    image, keeper = archive(gallery.picture(picture_kind=kind))
    assert (image.status, image.sha256) == (status, None)
    assert image.reason in reasons
    assert keeper.world.rows(Blob) == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"picture_transfer": "cut"}, "truncated"),
        ({"picture_transfer": "wrong_length"}, "truncated"),
        ({"picture_transfer": "redirects"}, "too_many_redirects"),
        ({"picture_fault": "forbidden"}, "http_403"),
        ({"picture_fault": "html"}, "not_a_picture"),
        ({"lifetime_s": 0}, "http_404"),
    ],
    ids=lambda value: str(value),
)
def test_a_broken_transfer_is_tried_again_and_leaves_nothing(
    archive: Archive, gallery: Gallery, options: dict[str, Any], reason: str
) -> None:
    image, keeper = archive(gallery.picture(**options))
    assert (image.status, image.reason, image.fetches) == ("pending", reason, 1)
    assert image.fetch_at > keeper.world.at
    assert keeper.world.rows(Blob) == []


def test_three_redirects_lead_to_the_picture(archive: Archive, gallery: Gallery) -> None:
    image, _ = archive(gallery.picture(picture_transfer="redirects", redirects_length=3))
    assert (image.status, image.sha256) == ("archived", gallery.served()[-1])


def test_a_byte_a_second_ends_at_the_total_deadline(archive: Archive, gallery: Gallery) -> None:
    started = time.monotonic()
    image, _ = archive(gallery.picture(picture_transfer="drip", drip_bytes_s=1))
    assert (image.status, image.reason) == ("pending", "timeout")
    assert time.monotonic() - started < PATIENCE_S
