"""`batches` against a real server: files in every form, results on stdout, and the exit codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click.testing
import pytest

from tests.cli.conftest import Run, as_json
from tests.served import Served, app, parts, served
from tests.web.conftest import NOW
from webhook_app.domain.errors import ErrorCode, JobError
from webhook_app.domain.ids import new_id
from webhook_app.domain.job import Status
from webhook_app.flows.ending import end
from webhook_app.store import jobs

__all__ = ["app", "parts", "served"]
Verb = Callable[..., click.testing.Result]
JOBS = [{"input": {"prompt": f"picture {n}"}} for n in range(2)]


@pytest.fixture
def verb(run: Run, served: Served) -> Verb:
    return lambda *words: run(*words, WEBHOOK_APP_URL=served.url, WEBHOOK_APP_API_KEY=served.key)


@pytest.fixture
def batch(served: Served) -> dict[str, Any]:
    made: dict[str, Any] = served.api.post("/v1/batches", {"jobs": JOBS}).json
    return made


def fail(served: Served, track_id: str, status: Status) -> None:
    with served.api.parts.store.writing() as connection:
        row = jobs.lock(connection, [track_id])[track_id]
        error = JobError(ErrorCode.NO_RESULT, "no")
        end(connection, dict(row._mapping), status, error, by="worker", now=NOW)


@pytest.mark.parametrize(
    "text",
    [json.dumps({"jobs": JOBS}), json.dumps(JOBS, indent=2), "\n\n".join(json.dumps(job) for job in JOBS) + "\n"],
)
def test_a_file_in_any_form_becomes_a_batch(verb: Verb, served: Served, tmp_path: Path, text: str):
    path = tmp_path / "jobs"
    path.write_text(text)
    done = verb("batches", "submit", str(path), "--idempotency-key", "k")
    assert (done.exit_code, done.stderr) == (0, "")
    assert served.api.get(f"/v1/batches/{done.stdout.strip()}").json["jobs"] == 2
    again = as_json(verb("batches", "submit", str(path), "--idempotency-key", "k", "--output", "json"))
    assert (again["batch_id"], len(again["track_ids"])) == (done.stdout.strip(), 2)


def test_what_is_no_job_is_refused_before_or_by_the_server(verb: Verb, tmp_path: Path):
    path = tmp_path / "jobs"
    path.write_text(json.dumps(JOBS[0]) + "\n{oops\n")
    done = verb("batches", "submit", str(path))
    assert (done.exit_code, "line 2 is not JSON" in done.stderr) == (2, True)
    path.write_text(json.dumps(JOBS[0]) + '\n{"input": {"prompt": "x", "width": 7}}\n')
    done = verb("batches", "submit", str(path))
    assert (done.exit_code, "/jobs/1/input/width" in done.stderr) == (2, True)
    path.write_text(json.dumps(JOBS[0]))
    assert verb("batches", "submit", str(path)).exit_code == 0
    assert verb("batches", "submit", str(tmp_path / "none")).exit_code == 2


def test_a_batch_is_shown_listed_and_canceled(verb: Verb, batch: dict[str, Any]):
    shown = verb("batches", "get", batch["batch_id"])
    assert "jobs: 2\nqueued: 2" in shown.stdout
    assert batch["batch_id"] in verb("batches", "list").stdout
    listed = as_json(verb("jobs", "list", "--batch-id", batch["batch_id"], "--output", "json"))["data"]
    assert {job["track_id"] for job in listed} == set(batch["track_ids"])
    assert len(as_json(verb("batches", "list", "--output", "json"))["data"]) == 1
    assert as_json(verb("batches", "cancel", batch["batch_id"], "--output", "json"))["counts"]["canceled"] == 2
    assert verb("batches", "get", new_id("bat")).exit_code == 3


@pytest.mark.parametrize(
    ("ends", "code"), [(("failed", "timed_out"), 6), (("timed_out", "canceled"), 7), (("canceled", "canceled"), 5)]
)
def test_a_wait_ends_with_the_worst_that_happened(
    verb: Verb, served: Served, batch: dict[str, Any], ends: tuple[str, str], code: int
):
    done = verb("batches", "wait", batch["batch_id"], "--timeout", "0")
    assert (done.exit_code, "0 of 2 jobs have ended" in done.stderr) == (8, True)
    for track_id, status in zip(batch["track_ids"], ends, strict=True):
        if status == "canceled":
            served.api.post(f"/v1/jobs/{track_id}/cancel")
        else:
            fail(served, track_id, Status(status))
    done = verb("batches", "wait", batch["batch_id"], "--until", "archived")
    assert (done.exit_code, "completed_at: " in done.stdout) == (code, True)


def test_a_submit_may_wait(verb: Verb, tmp_path: Path):
    path = tmp_path / "jobs"
    path.write_text(json.dumps(JOBS))
    done = verb("batches", "submit", str(path), "--wait", "--timeout", "0")
    assert (done.exit_code, done.stderr.startswith("submitted bat_")) == (8, True)
