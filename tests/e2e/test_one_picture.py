"""One prompt in, one lasting picture out: the whole path over real processes."""

import hashlib
import json
import re
import signal
import threading
from pathlib import Path

import pytest
import requests

from tests.e2e.installation import Installation, eventually, installation


@pytest.fixture
def app(database_url: str, tmp_path: Path, free_port: int):
    port = free_port
    with installation(database_url, tmp_path, port) as made:
        yield made


def test_one_prompt_in_one_lasting_picture_out(app: Installation) -> None:
    app.start_web()
    app.start("worker")
    asked = app.submit("a lighthouse at dawn", reference="order-42", tags=["spring"])
    assert asked.status_code == 202, asked.text
    track_id = asked.json()["track_id"]
    assert asked.headers["Location"].endswith(f"/v1/jobs/{track_id}")

    job = app.archived(track_id)
    assert (job["status"], job["archive_status"]) == ("succeeded", "archived")
    served = requests.get(job["images"][0]["url"], timeout=10)
    assert hashlib.sha256(served.content).hexdigest() == job["images"][0]["sha256"]
    given = {entry["sha256"] for entry in app.ledger("picture") if entry.get("sha256")}
    assert job["images"][0]["sha256"] in given

    submits = app.ledger("submit", track_id)
    assert len(submits) == 1
    assert f"/callbacks/modelslab/{track_id}/1." in str(submits[0])
    callbacks = app.call("GET", f"/v1/jobs/{track_id}/callbacks").json()["data"]
    assert [callback["verdict"] for callback in callbacks] == ["applied"]
    types = [event["type"] for event in app.call("GET", f"/v1/jobs/{track_id}/events").json()["data"]]
    assert set(types) >= {"job.queued", "job.submitted", "callback.received", "job.succeeded", "job.archived"}
    assert verdict_on_public_url(app) == (0, "ok")
    app.env["PUBLIC_URL"] = app.emulator_url
    assert verdict_on_public_url(app) == (1, "failed")


def verdict_on_public_url(app: Installation) -> tuple[int, str]:
    """What `doctor` ends with, and says of where callbacks are sent."""
    seen = app.run("doctor", "--output", "json")
    checks = {check["check"]: check["verdict"] for check in json.loads(seen.stdout)["checks"]}
    return seen.returncode, checks["public URL"]


def test_the_whole_path_is_the_same_in_the_other_kind_of_server(app: Installation, database_url: str) -> None:
    """Greenlets on SQLite, threads on PostgreSQL; every other test here has it the other way round."""
    worker_class, named = ("gevent", "gevent") if database_url.startswith("sqlite") else ("gthread", "PatientWorker")
    web = app.start_web(WEB_WORKER_CLASS=worker_class)
    app.start("worker")
    job = app.archived(app.submit("either way").json()["track_id"])
    assert job["archive_status"] == "archived"
    assert app.ledger("callback", job["track_id"])
    assert re.search(rf"Using worker: \S*{named}", web.log.read_text())
    app.provider(callback="never")
    silent = app.archived(app.submit("silence").json()["track_id"])
    assert silent["archive_status"] == "archived", "a poll replaces the callback"
    assert not app.ledger("callback", silent["track_id"])
    assert app.ledger("fetch")


def test_a_worker_killed_in_the_middle_loses_nothing(app: Installation) -> None:
    app.provider(delay_s=2.0)
    app.start_web()
    worker = app.start("worker")
    track_id = app.submit("in the middle").json()["track_id"]
    eventually(lambda: app.ledger("submit", track_id), "the provider has the request")
    worker.stop(signal.SIGKILL)
    app.start("worker")
    job = app.archived(track_id)
    assert job["status"] == "succeeded"
    assert len(app.ledger("submit", track_id)) == 1


def test_what_is_asked_twice_is_paid_once_and_outlives_the_provider_and_a_restart(app: Installation) -> None:
    web, worker = app.start_web(), app.start("worker")
    answers: list[requests.Response] = []

    def ask() -> None:
        answers.append(app.submit("only once", headers={"Idempotency-Key": "order-1"}))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} <= {202, 409}
    (made,) = {answer.json()["track_id"] for answer in answers if answer.status_code == 202}
    job = app.archived(made)
    assert len(app.ledger("submit")) == 1

    app.processes[0].stop(signal.SIGKILL)
    assert worker.stop() == 0
    web.stop()
    app.start_web()
    again = requests.get(job["images"][0]["url"], timeout=10)
    assert hashlib.sha256(again.content).hexdigest() == job["images"][0]["sha256"]
