"""`submit`, `wait` and `jobs` against a real server: results on stdout, talk on stderr, and the exit codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click.testing
import pytest

from tests.cli.conftest import Run, as_json
from tests.databases import free_port
from tests.served import Served, app, parts, served
from tests.web.conftest import BOOTSTRAP_KEY, NOW
from tests.web.test_resolve import unconfirmed
from webhook_app.domain.ids import new_track_id

__all__ = ["app", "parts", "served"]
Verb = Callable[..., click.testing.Result]


@pytest.fixture
def verb(run: Run, served: Served) -> Verb:
    return lambda *words: run(*words, WEBHOOK_APP_URL=served.url, WEBHOOK_APP_API_KEY=served.key)


def ended(served: Served, **values: Any) -> str:
    """A job that has ended so; its track_id."""
    track_id = served.api.submit()
    served.api.change_job(track_id, completed_at=NOW, **values)
    return track_id


def test_a_submit_prints_the_track_id_alone(verb: Verb, served: Served):
    words = ("--width", "256", "--height", "512", "--samples", "2", "--seed", "7", "--reference", "order-42")
    done = verb("submit", "a lighthouse", *words)
    assert (done.exit_code, done.stderr) == (0, "")
    job = served.api.get(f"/v1/jobs/{done.stdout.strip()}").json
    asked = {"prompt": "a lighthouse", "width": 256, "height": 512, "samples": 2, "seed": 7}
    assert (job["input"], job["reference"]) == (asked, "order-42")
    assert as_json(verb("submit", "again", "--output", "json"))["status"] == "queued"


def test_a_submit_may_wait(verb: Verb):
    done = verb("submit", "a lighthouse", "--wait", "--timeout", "0")
    assert (done.exit_code, done.stdout) == (8, "")
    assert done.stderr.startswith("submitted ")


def test_a_wait_prints_the_pictures_of_a_success(verb: Verb, served: Served):
    track_id = ended(served, status="succeeded", archive_status="pending")
    url = served.api.get(f"/v1/jobs/{track_id}").json["images"][0]["url"]
    done = verb("wait", track_id)
    assert (done.exit_code, done.stdout, done.stderr) == (0, url + "\n", "")
    assert verb("wait", track_id, "--until", "archived", "--timeout", "0").exit_code == 8
    served.api.change_job(track_id, archive_status="lost")
    assert verb("wait", track_id, "--until", "archived").exit_code == 1
    served.api.change_job(track_id, archive_status="archived")
    assert verb("wait", track_id, "--until", "archived").exit_code == 0


@pytest.mark.parametrize(("status", "code"), [("canceled", 5), ("failed", 6), ("timed_out", 7)])
def test_a_wait_tells_the_shell_how_a_job_ended(verb: Verb, served: Served, status: str, code: int):
    error = {"code": "generation_failed", "message": "It broke.", "retryable": False, "provider_message": "no luck"}
    track_id = ended(served, status=status, error=error)
    done = verb("wait", track_id)
    assert (done.exit_code, done.stdout) == (code, "")
    assert done.stderr == f"error: {track_id} is {status}: It broke. (no luck)\n"
    assert f'"status": "{status}"' in verb("wait", track_id, "--output", "json").stdout


def test_several_are_waited_for_and_the_first_that_went_wrong_decides(verb: Verb, served: Served):
    good, better = (ended(served, status="succeeded", archive_status="archived") for _ in range(2))
    failed, running, none = ended(served, status="failed"), served.api.submit(), new_track_id()
    urls = {each: served.api.get(f"/v1/jobs/{each}").json["images"][0]["url"] for each in (good, better)}
    done = verb("wait", good, better)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == f"{good} {urls[good]}\n{better} {urls[better]}\n"
    assert verb("wait", running, good, "--any", "--until", "archived").stdout == f"{good} {urls[good]}\n"
    assert verb("wait", running, good, "--timeout", "0").exit_code == 8
    worst = verb("wait", running, good, failed, none, "--timeout", "0")
    assert (worst.exit_code, worst.stdout) == (3, f"{good} {urls[good]}\n")
    assert f"error: {none} is unknown or erased" in worst.stderr
    assert f"{failed} is failed" in worst.stderr
    assert verb("wait", good, failed).exit_code == 6
    assert as_json(verb("wait", running, good, "--any", "--output", "json"))["pending"] == [running]
    assert verb("wait").exit_code == 2


def test_jobs_are_listed_and_shown(verb: Verb, served: Served):
    first, second = served.api.submit("a lighthouse", tags=["spring"]), served.api.submit("a horse", reference="r-1")
    listed = as_json(verb("jobs", "list", "--output", "json"))["data"]
    assert [job["track_id"] for job in listed] == [second, first]
    text = verb("jobs", "list", "--status", "queued", "--tag", "spring", "--limit", "5").stdout
    assert first in text
    assert second not in text
    assert as_json(verb("jobs", "list", "--unconfirmed", "--output", "json"))["data"] == []
    assert len(as_json(verb("jobs", "list", "--limit", "1", "--output", "json"))["data"]) == 1
    assert "reference: r-1" in verb("jobs", "get", second).stdout
    assert as_json(verb("jobs", "get", second, "--output", "json"))["track_id"] == second


def test_a_job_on_hold_is_resolved_by_an_admin(verb: Verb, served: Served):
    again, never = unconfirmed(served.api), unconfirmed(served.api)
    assert again in verb("jobs", "list", "--unconfirmed").stdout
    assert verb("jobs", "resolve", again, "repeat").exit_code == 4
    admin = ("--api-key", BOOTSTRAP_KEY)
    assert "status: queued" in verb("jobs", "resolve", again, "repeat", *admin).stdout
    assert "error: submit_unconfirmed: " in verb("jobs", "resolve", never, "fail", *admin).stdout
    assert verb("jobs", "resolve", never, "fail", *admin).exit_code == 5
    assert verb("jobs", "resolve", again, "fail", *admin).exit_code == 5
    assert verb("jobs", "resolve", again, "perhaps", *admin).exit_code == 2


def test_a_job_is_canceled_and_one_that_ended_is_not(verb: Verb, served: Served):
    track_id = served.api.submit()
    assert "status: canceled" in verb("jobs", "cancel", track_id).stdout
    assert verb("jobs", "cancel", track_id).exit_code == 0
    assert verb("jobs", "cancel", ended(served, status="failed")).exit_code == 5


def test_jobs_are_exported_to_a_file_or_stdout(verb: Verb, served: Served, tmp_path: Path):
    kept = served.api.submit(reference="r")
    served.api.submit()
    done = verb("jobs", "export", "--reference", "r")
    assert (done.exit_code, json.loads(done.stdout)["track_id"]) == (0, kept)
    path = tmp_path / "jobs.csv"
    assert verb("jobs", "export", str(path), "--format", "csv", "--status", "queued").exit_code == 0
    assert path.read_text().startswith("track_id,number,status,")
    assert len(path.read_text().splitlines()) == 3
    failed = tmp_path / "failed.csv"
    assert verb("jobs", "export", str(failed), "--created-after", "yesterday").exit_code == 2
    assert not failed.exists()


def test_a_job_is_run_again(verb: Verb, served: Served):
    track_id = served.api.submit(input={"seed": 7})
    done = verb("jobs", "rerun", track_id, "--width", "256")
    assert (done.exit_code, done.stderr) == (0, "")
    again = served.api.get(f"/v1/jobs/{done.stdout.strip()}").json
    assert (again["parent_track_id"], again["seed"], again["input"]["width"]) == (track_id, 7, 256)
    assert as_json(verb("jobs", "rerun", track_id, "--seed", "9", "--output", "json"))["seed"] == 9
    assert as_json(verb("jobs", "rerun", track_id, "--seed", "new", "--output", "json"))["seed"] != 7
    assert verb("jobs", "rerun", track_id, "--seed", "old").exit_code == 2
    assert verb("jobs", "rerun", track_id, "--width", "7").exit_code == 2
    assert verb("jobs", "rerun", new_track_id()).exit_code == 3


def test_a_job_is_explained(verb: Verb, served: Served):
    track_id = served.api.submit()
    done = verb("jobs", "explain", track_id)
    assert done.exit_code == 0
    verdict = (
        f"{track_id} is queued.\nIt waits in the queue for a slot at modelslab, at place 1.\nNext: It is sent when"
    )
    assert done.stdout.startswith(verdict)
    assert "taken in as number" in done.stdout
    assert as_json(verb("jobs", "explain", track_id, "--output", "json"))["status"] == "queued"
    assert verb("jobs", "explain", new_track_id()).exit_code == 3


def test_a_job_is_erased(verb: Verb, served: Served):
    track_id = served.api.submit()
    erasure = as_json(verb("jobs", "erase", track_id, "--output", "json"))
    assert (erasure["track_id"], erasure["status"]) == (track_id, "pending")
    assert verb("jobs", "erase", track_id).stdout == f"{erasure['erasure_id']} pending\n"
    assert verb("jobs", "get", track_id).exit_code == 5
    assert verb("jobs", "erase", new_track_id()).exit_code == 3


def test_errors_end_with_the_promised_codes(verb: Verb, run: Run, served: Served):
    assert verb("jobs", "get", new_track_id()).exit_code == 3
    assert verb("submit", "x", "--width", "7").exit_code == 2
    wrong = run("jobs", "list", "--url", served.url, "--api-key", "wapp_wrong")
    assert wrong.exit_code == 4
    assert "wapp_wrong" not in wrong.output
    away = run("jobs", "list", "--url", f"http://127.0.0.1:{free_port()}", "--api-key", "k")
    assert away.exit_code == 1
    assert "cannot be reached" in away.stderr
    assert run("jobs", "list").exit_code == run("jobs", "list", "--url", "x", "--api-key", "k").exit_code == 2
