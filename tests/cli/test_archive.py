"""`archive` from the server's shell, on both databases: reports, cursors, exit codes."""

import base64
import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click.testing
import pytest

from tests import buckets
from tests.cli.conftest import Run, as_json
from tests.flows.keeper import ONE, Keeper, png
from tests.flows.world import World
from webhook_app.domain.keys import blob_key
from webhook_app.pictures.inspect import PictureInspector
from webhook_app.storage.local import LocalStorage
from webhook_app.store.engine import Store

Verb = Callable[..., click.testing.Result]
STRANGER = "ab" * 32


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the archive's files lie."""
    return tmp_path / "data" / "archive"


@pytest.fixture
def verb(run: Run, database_url: str) -> Verb:
    return lambda *words: run("archive", *words, DATABASE_URL=database_url, SECRET_KEY="s" * 32)


@pytest.fixture(scope="module")
def inspector() -> Iterator[PictureInspector]:
    made = PictureInspector(max_bytes=1_000_000)
    yield made
    made.close()


@pytest.fixture
def keeper(store: Store, root: Path, inspector: PictureInspector) -> Keeper:
    """Pictures of the spring of 2026: their sources are long gone."""
    return Keeper(World(store), LocalStorage(root), inspector)


def archived(keeper: Keeper, colour: str, *sources: str) -> tuple[str, str]:
    """The track_id of a job with an archived picture, and its digest."""
    keeper.web.serve(ONE, png(colour))
    track_id = keeper.succeeded(*sources)
    keeper.tick()
    keeper.world.later(seconds=1)
    return track_id, keeper.world.images(track_id)[0].sha256


def test_a_sound_archive_ends_with_0_and_a_slice_names_the_next(keeper: Keeper, verb: Verb):
    digests = sorted(archived(keeper, colour)[1] for colour in ("red", "green", "blue"))
    report = as_json(verb("verify", "--limit", "2", "--output", "json"))
    assert (report["checked"], report["counts"], report["findings"]) == (2, {"sound": 2}, [])
    assert report["next_cursor"] == digests[1]
    rest = as_json(verb("verify", "--limit", "2", "--cursor", digests[1], "--output", "json"))
    assert (rest["checked"], rest["next_cursor"]) == (1, None)
    told = verb("verify", "--limit", "2")
    assert told.stdout.splitlines()[-1] == f"next_cursor: {digests[1]}"
    whole = verb("verify", "--all", "--limit", "1", "--output", "json")
    assert (as_json(whole)["checked"], as_json(whole)["next_cursor"]) == (3, None)
    assert "verifying" in whole.stderr


def test_what_is_wrong_ends_with_1_and_is_reported(keeper: Keeper, verb: Verb, root: Path):
    track_id, sha256 = archived(keeper, "red")
    archived(keeper, "green")
    os.truncate(root / blob_key(sha256), 10)
    looked = verb("verify", "--no-repair", "--output", "json")
    assert looked.exit_code == 1
    (finding,) = json.loads(looked.stdout)["findings"]
    assert (finding["outcome"], finding["repaired"], finding["problem"]) == ("altered", False, "not_tried")
    assert keeper.world.job(track_id).archive_status == "archived"
    told = verb("verify", "--output", "json")
    report = json.loads(told.stdout)
    assert (told.exit_code, report["counts"], report["pictures_lost"]) == (1, {"altered": 1, "sound": 1}, 1)
    (finding,) = report["findings"]
    assert (finding["sha256"], finding["track_ids"]) == (sha256, [track_id])
    assert finding["image_ids"] == [keeper.world.images(track_id)[0].image_id]
    assert keeper.world.job(track_id).archive_status == "lost"
    text = verb("verify")
    assert f"{sha256}  altered" in text.stdout
    assert text.stderr == "error: 1 of 2 objects are not as they should be\n"


def test_what_was_repaired_ends_with_0(keeper: Keeper, verb: Verb, root: Path):
    inline = f"data:image/png;base64,{base64.b64encode(png()).decode()}"
    _, sha256 = archived(keeper, "red", inline)
    (root / blob_key(sha256)).unlink()
    report = as_json(verb("verify", "--all", "--output", "json"))
    assert (report["counts"], report["repaired"], report["pictures_lost"]) == ({"missing": 1}, 1, 0)
    assert as_json(verb("verify", "--output", "json"))["counts"] == {"sound": 1}


def test_orphans_are_named_in_the_slice_where_they_stand_and_are_no_failure(keeper: Keeper, verb: Verb, root: Path):
    digests = sorted(archived(keeper, colour)[1] for colour in ("red", "green", "blue"))
    strangers = [digests[0][:-1] + ("0" if digests[0][-1] == "f" else "f"), "f" * 64]
    for sha256 in strangers:
        path = root / blob_key(sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"orphan")
        os.utime(path, (time.time() - 4000,) * 2)
    whole = verb("verify", "--all", "--limit", "1", "--output", "json")
    report = as_json(whole)
    assert (report["checked"], report["counts"]) == (3, {"orphaned": 2, "sound": 3})
    assert [finding["key"] for finding in report["findings"]] == [blob_key(sha256) for sha256 in strangers]
    assert [finding["outcome"] for finding in report["findings"]] == ["orphaned"] * 2
    assert report["findings"][0]["bytes"] == 6
    assert "2 objects belong to no picture: webhook-app archive gc" in whole.stderr
    slices, cursor = [], ""
    while cursor is not None:
        told = as_json(verb("verify", "--limit", "2", "--cursor", cursor, "--output", "json"))
        slices.append([finding["sha256"] for finding in told["findings"]])
        cursor = told["next_cursor"]
    assert slices == [strangers[:1], strangers[1:]]
    assert f"{strangers[0]}  orphaned" in verb("verify").stdout
    assert all((root / blob_key(sha256)).exists() for sha256 in strangers)


def test_an_archive_that_is_away_ends_the_report_in_good_order(
    keeper: Keeper, run: Run, database_url: str, free_port: int, monkeypatch: pytest.MonkeyPatch
):
    for name, value in buckets.KEYS.items():
        monkeypatch.setenv(name, value)
    archived(keeper, "red")
    where = f"s3://pictures/x?endpoint_url=http%3A%2F%2F127.0.0.1%3A{free_port}&region=us-east-1"
    env = {"DATABASE_URL": database_url, "SECRET_KEY": "s" * 32, "ARCHIVE_URL": where}
    told = run("archive", "verify", "--all", "--output", "json", **env)
    report = json.loads(told.stdout)
    assert (told.exit_code, report["findings"], report["checked"], report["next_cursor"]) == (1, [], 0, "")
    assert "cannot be reached" in report["stopped"]
    assert "cannot be reached" in told.stderr


def test_orphans_are_shown_and_then_removed(keeper: Keeper, verb: Verb, root: Path):
    archived(keeper, "red")
    orphan, half = root / blob_key(STRANGER), root / "blobs" / ".tmp-0123"
    for path in (orphan, half):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"orphan")
        os.utime(path, (time.time() - 90_000,) * 2)
    report = as_json(verb("gc", "--dry-run", "--output", "json"))
    assert (report["dry_run"], report["bytes"], report["temporary"]) == (True, 6, 1)
    assert [entry["key"] for entry in report["objects"]] == [blob_key(STRANGER)]
    assert as_json(verb("gc", "--older-than", "7d", "--output", "json"))["objects"] == []
    assert orphan.exists()
    done = verb("gc")
    assert (done.exit_code, done.stdout) == (0, f"{blob_key(STRANGER)}\n")
    assert "removed: 1 objects with 6 bytes, 1 temporary files" in done.stderr
    assert not orphan.exists()
    assert not half.exists()
    assert as_json(verb("verify", "--output", "json"))["counts"] == {"sound": 1}


@pytest.mark.parametrize(
    "words",
    [["gc", "--older-than", "59m"], ["gc", "--older-than", "1w"], ["verify", "--cursor", "XYZ"],
     ["verify", "--limit", "0"], ["export", "-", "--output", "json"], ["export", "x", "--status", "odd"]],
)  # fmt: skip
def test_what_makes_no_sense_ends_with_2(keeper: Keeper, verb: Verb, words: list[str]):
    assert verb(*words).exit_code == 2


def test_pictures_are_exported_and_a_full_directory_is_refused(keeper: Keeper, verb: Verb, tmp_path: Path, root: Path):
    track_id, sha256 = archived(keeper, "red")
    other, _ = archived(keeper, "green")
    target = tmp_path / "out"
    assert as_json(verb("export", str(target), "--output", "json"))["exported"] == 2
    assert subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=target, check=False).returncode == 0
    again = verb("export", str(target))
    assert (again.exit_code, "--overwrite" in again.stderr) == (1, True)
    (root / blob_key(sha256)).unlink()
    partly = verb("export", str(target), "--overwrite", "--output", "json")
    assert partly.exit_code == 1
    assert [(left["track_id"], left["problem"]) for left in json.loads(partly.stdout)["failed"]] == [
        (track_id, "missing")
    ]
    assert f"{other}-0.png" in (target / "SHA256SUMS").read_text()
    assert track_id not in (target / "SHA256SUMS").read_text()


def test_filters_are_those_of_the_list(keeper: Keeper, verb: Verb, tmp_path: Path):
    archived(keeper, "red")
    for n, (words, count) in enumerate(
        [
            (["--client", "acme"], 1), (["--status", "succeeded"], 1), (["--status", "failed"], 0), (["--tag", "x"], 0),
            (["--reference", "x"], 0), (["--created-after", "2026-03-02"], 0), (["--created-before", "2026-03-02"], 1),
        ]
    ):  # fmt: skip
        told = as_json(verb("export", str(tmp_path / f"{n}.tar"), *words, "--output", "json"))
        assert told["exported"] == count, words
    assert verb("export", str(tmp_path / "none"), "--client", "nobody").exit_code == 3


def test_a_tar_goes_to_stdout(keeper: Keeper, tmp_path: Path, root: Path):
    track_id, _ = archived(keeper, "red")
    environment = {"DATABASE_URL": keeper.world.store.url.render_as_string(hide_password=False)}
    environment |= {"DATA_DIR": str(tmp_path / "data"), "SECRET_KEY": "s" * 32, "PATH": os.environ["PATH"]}
    command = [sys.executable, "-m", "webhook_app", "archive", "export", "-"]
    done = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=60)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        assert tar.getnames() == [f"pictures/{track_id}-0.png", "manifest.jsonl", "SHA256SUMS"]
    assert b"exported: 1 pictures" in done.stderr


def test_collecting_an_archive_that_is_away_ends_the_report_in_good_order(
    keeper: Keeper, run: Run, database_url: str, free_port: int, monkeypatch: pytest.MonkeyPatch
):
    for name, value in buckets.KEYS.items():
        monkeypatch.setenv(name, value)
    where = f"s3://pictures/x?endpoint_url=http%3A%2F%2F127.0.0.1%3A{free_port}&region=us-east-1"
    env = {"DATABASE_URL": database_url, "SECRET_KEY": "s" * 32, "ARCHIVE_URL": where}
    told = run("archive", "gc", "--output", "json", **env)
    report = json.loads(told.stdout)
    assert (told.exit_code, report["objects"], report["bytes"], report["dry_run"]) == (1, [], 0, False)
    assert "cannot list" in report["stopped"]
