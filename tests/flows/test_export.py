"""Exports, checked by the program that everybody has: `sha256sum -c`."""

import contextlib
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.kernel import on_a_small_disk
from tests.flows.keeper import ONE, TWO, Keeper, png
from tests.flows.world import success
from webhook_app.domain.errors import StorageError
from webhook_app.domain.keys import blob_key
from webhook_app.flows import export as export_flow
from webhook_app.flows.export import Exported, export
from webhook_app.storage.bundle import directory_bundle, tar_bundle
from webhook_app.store.reads import JobFilter

EVERYTHING = JobFilter(client_id=None)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "exported"


def archived(keeper: Keeper, colour: str, **more: object) -> str:
    """A job whose picture has this colour."""
    track_id = keeper.world.submit(**more)
    keeper.world.send(success())
    keeper.web.serve(ONE, png(colour))
    keeper.tick()
    keeper.world.later(seconds=1)
    return track_id


def exported(
    keeper: Keeper, target: Path, wanted: JobFilter = EVERYTHING, *, overwrite: bool = False
) -> list[Exported]:
    make = tar_bundle if target.suffix == ".tar" else directory_bundle
    with make(target, overwrite=overwrite) as bundle:
        return list(export(keeper.world.store, keeper.storage, bundle, wanted))


def sha256sum(folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_without_room_for_a_copy_the_picture_is_left_out_and_named(
    keeper: Keeper, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archived(keeper, "red")
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(export_flow, "IN_MEMORY", 10)

    def run(resize: Callable[[str], None]) -> list[str | None]:
        filler = folder / "filler"
        with directory_bundle(target, overwrite=False) as bundle:
            pictures = export(keeper.world.store, keeper.storage, bundle, EVERYTHING)
            # The lists have their files by now; what comes next finds the disk full.
            with contextlib.suppress(OSError):
                filler.write_bytes(b"x" * 200_000)
            first = [next(pictures).problem]
            filler.unlink()
            return first + [picture.problem for picture in pictures]

    assert on_a_small_disk(folder, "100k", run) == ["disk_unavailable"]
    assert names(target) == ["SHA256SUMS", "manifest.jsonl"]


def test_a_full_disk_that_has_no_room_for_the_lists_ends_the_export(
    keeper: Keeper, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archived(keeper, "red")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(StorageError, match="cannot write the lists"):
        exported(keeper, target)


def test_a_directory_satisfies_sha256sum_and_its_manifest_tells_the_facts(keeper: Keeper, target: Path) -> None:
    first = archived(keeper, "red", reference="Bestellung für Ä")
    second = archived(keeper, "green")
    done = exported(keeper, target)
    assert [(picture.track_id, picture.problem) for picture in done] == [(first, None), (second, None)]
    checked = sha256sum(target)
    assert (checked.returncode, checked.stderr) == (0, "")
    pictures = [f"pictures/{first}-0.png", f"pictures/{second}-0.png"]
    assert checked.stdout.splitlines() == [f"{name}: OK" for name in [*pictures, "manifest.jsonl"]]
    assert names(target) == sorted([*pictures, "SHA256SUMS", "manifest.jsonl"])
    assert (target / pictures[0]).read_bytes() == png("red")
    line, other = (json.loads(line) for line in (target / "manifest.jsonl").read_text().splitlines())
    (image,), job = keeper.world.images(first), keeper.world.job(first)
    assert line == {
        "file": pictures[0],
        "track_id": first,
        "index": 0,
        "image_id": image.image_id,
        "sha256": image.sha256,
        "bytes": len(png("red")),
        "content_type": "image/png",
        "width": 64,
        "height": 48,
        "reference": "Bestellung für Ä",
        "created_at": "2026-03-01T12:00:00Z",
        "archived_at": "2026-03-01T12:00:00Z",
        "seed": job.seed,
        "prompt": "a horse",
    }
    assert other["file"] == pictures[1]


def test_an_unpacked_tar_satisfies_it_too_and_is_the_same_each_time(keeper: Keeper, target: Path) -> None:
    for colour in ("red", "green", "blue"):
        archived(keeper, colour)
    made = []
    for name in ("one.tar", "two.tar"):
        assert len(exported(keeper, target.with_name(name))) == 3
        made.append(target.with_name(name).read_bytes())
    assert made[0] == made[1]
    with tarfile.open(target.with_name("one.tar")) as tar:
        tar.extractall(target, filter="data")
    checked = sha256sum(target)
    assert (checked.returncode, checked.stdout.count(": OK")) == (0, 4)


def test_a_picture_that_is_not_as_it_should_be_is_left_out_and_named(keeper: Keeper, target: Path) -> None:
    tracks = [archived(keeper, colour) for colour in ("red", "green", "blue", "white")]
    paths = [target.with_name("archive") / blob_key(keeper.world.images(track)[0].sha256) for track in tracks]
    content = bytearray(paths[0].read_bytes())
    content[-1] ^= 1
    paths[0].write_bytes(content)
    paths[1].unlink()
    paths[2].unlink()
    paths[2].symlink_to(paths[3])
    done = exported(keeper, target)
    assert [picture.problem for picture in done] == ["altered", "missing", "altered", None]
    assert sha256sum(target).stdout.splitlines() == [f"pictures/{tracks[3]}-0.png: OK", "manifest.jsonl: OK"]
    assert names(target / "pictures") == [f"{tracks[3]}-0.png"]
    assert len((target / "manifest.jsonl").read_text().splitlines()) == 1


def test_the_filters_of_the_list_choose_the_jobs(keeper: Keeper, target: Path) -> None:
    tagged = archived(keeper, "red", tags=("spring",))
    named = archived(keeper, "green", reference="order-42")
    theirs = archived(keeper, "blue", client_id=keeper.world.client("other"))
    keeper.world.submit()
    for n, (wanted, found) in enumerate(
        [
            (JobFilter(client_id=None), [tagged, named, theirs]),
            (JobFilter(client_id=keeper.world.client_id), [tagged, named]),
            (JobFilter(client_id=None, tags=["spring"]), [tagged]),
            (JobFilter(client_id=None, reference="order-42"), [named]),
            (JobFilter(client_id=None, statuses=["queued"]), []),
            (JobFilter(client_id=None, created_after=keeper.world.job(named).created_at), [named, theirs]),
            (JobFilter(client_id=None, created_before=keeper.world.job(named).created_at), [tagged]),
        ]
    ):
        done = exported(keeper, target / str(n), wanted)
        assert [picture.track_id for picture in done] == found
        assert sha256sum(target / str(n)).returncode == 0


def test_more_than_a_page_of_jobs_is_exported_once_each(
    keeper: Keeper, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhook_app.flows.export.PAGE", 2)
    keeper.web.serve(TWO, png("green"))
    several = keeper.world.submit(samples=2)
    keeper.world.send(success(ONE, TWO))
    tracks = [several, *(archived(keeper, "red") for _ in range(4))]
    done = exported(keeper, target)
    assert [(picture.track_id, picture.name[-5]) for picture in done] == [
        (several, "0"),
        (several, "1"),
        *((track_id, "0") for track_id in tracks[1:]),
    ]
    assert len({picture.name for picture in done}) == 6
