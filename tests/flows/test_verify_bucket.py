"""Verifying, collecting and exporting an archive that is a bucket."""

import os
import signal
import subprocess
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests import buckets
from tests.flows.keeper import ONE, Keeper, png
from tests.flows.test_verify import verified
from tests.flows.world import World
from webhook_app.domain.errors import StorageError
from webhook_app.domain.keys import blob_key, thumbnail_key
from webhook_app.flows.collect import collect
from webhook_app.flows.export import export
from webhook_app.flows.look import Found
from webhook_app.flows.orphans import orphans
from webhook_app.pictures.inspect import PictureInspector
from webhook_app.storage.bundle import directory_bundle
from webhook_app.storage.location import Bucket, location
from webhook_app.storage.s3 import S3Storage
from webhook_app.store.reads import JobFilter


@pytest.fixture
def keeper(world: World, s3: buckets.Service, inspector: PictureInspector) -> Keeper:
    return Keeper(world, _storage(s3), inspector)


def _storage(service: buckets.Service) -> S3Storage:
    place = location(service.url(f"tests/{uuid.uuid4().hex}"))
    assert isinstance(place, Bucket)
    return S3Storage(place, silence_s=0.5)


def archived(keeper: Keeper, colour: str) -> tuple[str, str]:
    keeper.web.serve(ONE, png(colour))
    track_id = keeper.succeeded()
    keeper.tick()
    return track_id, keeper.world.images(track_id)[0].sha256


def test_damage_in_a_bucket_is_found_mended_or_told(keeper: Keeper, tmp_path: Path) -> None:
    track_id, missing = archived(keeper, "red")
    _, altered = archived(keeper, "green")
    _, bald = archived(keeper, "blue")
    storage, other = keeper.storage, tmp_path / "other"
    other.write_bytes(b"x" * len(png("green")))
    assert verified(keeper) == []

    def damage() -> None:
        storage.delete(blob_key(missing))
        storage.delete(blob_key(altered))
        storage.put_if_absent(blob_key(altered), other, "image/png")
        storage.delete(thumbnail_key(bald, 256))

    damage()
    expected = {missing: Found.MISSING, altered: Found.ALTERED, bald: Found.THUMBNAIL_MISSING}
    for sha256, colour in ((missing, "red"), (altered, "green")):
        keeper.web.serve(ONE, png(colour))
        assert {f.sha256: f.outcome for f in verified(keeper) if f.repaired and f.sha256 == sha256} == {
            sha256: expected[sha256]
        }
    assert verified(keeper) == []
    damage()
    keeper.world.later(hours=25)
    found = {finding.sha256: finding for finding in verified(keeper)}
    assert {sha256: finding.outcome for sha256, finding in found.items()} == expected
    assert {sha256 for sha256, finding in found.items() if finding.lost} == {missing, altered}
    assert keeper.world.job(track_id).archive_status == "lost"


def test_orphans_in_a_bucket_are_found_each_in_its_slice(keeper: Keeper, tmp_path: Path) -> None:
    digests = sorted(archived(keeper, colour)[1] for colour in ("red", "green"))
    stray = tmp_path / "stray"
    stray.write_bytes(b"x")
    strangers = ["00" * 32, digests[0][:-1] + ("0" if digests[0][-1] == "f" else "f"), "ff" * 32]
    for sha256 in strangers:
        for key in (blob_key(sha256), thumbnail_key(sha256, 512)):
            keeper.storage.put_if_absent(key, stray, "image/png")
    later, slices = datetime.now(UTC) + timedelta(hours=1), []
    for after, until in (("", digests[0]), (digests[0], digests[1]), (digests[1], None)):
        listed = orphans(keeper.world.store, keeper.storage, after=after, until=until, before=later)
        slices.append([entry.key for entry in listed])
    expected = [strangers[:1], strangers[1:2], strangers[2:]] if strangers[1] > digests[0] else None
    expected = expected or [strangers[:2], [], strangers[2:]]
    assert slices == [
        [blob_key(sha256) for sha256 in piece] + [thumbnail_key(sha256, 512) for sha256 in piece] for piece in expected
    ]


def test_an_altered_object_is_replaced_by_the_next_picture_with_its_bytes(keeper: Keeper, tmp_path: Path) -> None:
    _, sha256 = archived(keeper, "red")
    other = tmp_path / "other"
    for content in (b"short", b"x" * len(png("red"))):
        other.write_bytes(content)
        keeper.storage.replace(blob_key(sha256), other, "image/png")
        archived(keeper, "red")
        assert b"".join(keeper.storage.read(blob_key(sha256))) == png("red")
    assert verified(keeper) == []


def test_what_belongs_to_no_picture_goes_and_the_others_can_be_exported(keeper: Keeper, tmp_path: Path) -> None:
    track_id, _ = archived(keeper, "red")
    stray = tmp_path / "stray"
    stray.write_bytes(b"x")
    keeper.storage.put_if_absent(blob_key("ab" * 32), stray, "image/png")
    now = datetime.now(UTC)

    def collected(before: datetime) -> list[str]:
        store, storage = keeper.world.store, keeper.storage
        found = collect(store, storage, before=before, dry_run=False, clock=lambda: now)
        return [each.entry.key for each in found]

    assert collected(now - timedelta(hours=24)) == []
    assert collected(now + timedelta(hours=1)) == [blob_key("ab" * 32)]
    with directory_bundle(tmp_path / "out", overwrite=False) as bundle:
        done = list(export(keeper.world.store, keeper.storage, bundle, JobFilter(client_id=None)))
    assert [(picture.track_id, picture.problem) for picture in done] == [(track_id, None)]
    command = ["sha256sum", "--quiet", "-c", "SHA256SUMS"]
    assert subprocess.run(command, cwd=tmp_path / "out", check=False).returncode == 0


def test_a_service_that_stands_still_loses_no_picture(
    world: World, inspector: PictureInspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in buckets.KEYS.items():
        monkeypatch.setenv(name, value)
    with buckets.own_service() as service:
        keeper = Keeper(world, _storage(service), inspector)
        track_id, _ = archived(keeper, "red")
        keeper.world.later(hours=25)
        os.kill(service.pid, signal.SIGSTOP)
        try:
            with pytest.raises(StorageError, match="does not answer"):
                verified(keeper)
        finally:
            os.kill(service.pid, signal.SIGCONT)
        assert keeper.world.job(track_id).archive_status == "archived"
        assert verified(keeper) == []
