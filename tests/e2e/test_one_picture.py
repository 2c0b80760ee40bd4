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


@pytest.mark.parametrize(("worker_class", "named"), [("gthread", "PatientWorker"), ("gevent", "gevent")])
def test_the_whole_path_is_the_same_in_threads_and_in_greenlets(
    app: Installation, worker_class: str, named: str
) -> None:
    web = app.start_web(WEB_WORKER_CLASS=worker_class)
    app.start("worker")
    job = app.archived(app.submit("either way").json()["track_id"])
    assert job["archive_status"] == "archived"
    assert app.ledger("callback", job["track_id"])
    assert re.search(rf"Using worker: \S*{named}", web.log.read_text())


def test_a_callback_that_never_comes_is_replaced_by_a_poll(app: Installation) -> None:
    app.provider(callback="never")
    app.start_web()
    app.start("worker")
    job = app.archived(app.submit("silence").json()["track_id"])
    assert job["status"] == "succeeded"
    assert app.ledger("fetch")
    assert not app.ledger("callback")


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


def test_a_picture_survives_the_provider_and_a_restart(app: Installation) -> None:
    web, worker = app.start_web(), app.start("worker")
    job = app.archived(app.submit("lasting").json()["track_id"])
    app.processes[0].stop(signal.SIGKILL)
    assert worker.stop() == 0
    web.stop()
    app.start_web()
    again = requests.get(job["images"][0]["url"], timeout=10)
    assert hashlib.sha256(again.content).hexdigest() == job["images"][0]["sha256"]


def test_the_same_idempotency_key_in_parallel_pays_once(app: Installation) -> None:
    app.start_web()
    app.start("worker")
    answers: list[requests.Response] = []

    def ask() -> None:
        answers.append(app.submit("only once", headers={"Idempotency-Key": "order-1"}))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = {answer.json()["track_id"] for answer in answers if answer.status_code == 202}
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert len(made) == 1
    app.archived(made.pop())
    assert len(app.ledger("submit")) == 1


def test_doctor_is_content_with_a_healthy_installation(app: Installation) -> None:
    app.start_web()
    seen = app.run("doctor", "--output", "json")
    assert seen.returncode == 0, seen.stdout + seen.stderr
    checks = {check["check"]: check["verdict"] for check in json.loads(seen.stdout)["checks"]}
    assert checks["public URL"] == "ok"


def test_doctor_names_a_public_url_that_leads_elsewhere(app: Installation) -> None:
    app.start_web()
    app.env["PUBLIC_URL"] = app.emulator_url
    seen = app.run("doctor", "--output", "json")
    assert seen.returncode == 1
    checks = {check["check"]: check["verdict"] for check in json.loads(seen.stdout)["checks"]}
    assert checks["public URL"] == "failed"
