"""A batch in a real installation whose processes are killed: taken in once, whole, and told of once."""

import contextlib
import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.crash.fleet import INJECT
from tests.e2e.installation import Installation, eventually, installation

JOBS = [{"input": {"prompt": f"picture {n}", "width": 256, "height": 256}, "reference": str(n)} for n in range(12)]


@pytest.fixture
def app(database_url: str, tmp_path: Path, free_port: int) -> Iterator[Installation]:
    options = ("--delay", "0.2", "--callback", "once=0.8,never=0.2", "--parallel", "20")
    with installation(database_url, tmp_path, free_port, *options) as made:
        made.env |= {"ON_UNCONFIRMED": "hold", "MODELSLAB_MAX_IN_FLIGHT": "4"}
        yield made


def submit(app: Installation) -> requests.Response | None:
    """None where nobody answered."""
    body = "\n".join(json.dumps(job) for job in JOBS)
    headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": "spring"}
    with contextlib.suppress(requests.RequestException):
        return app.call("POST", "/v1/batches", data=body, headers=headers)
    return None


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("moment", "made"), [("before_commit", False), ("after_commit", True)])
def test_a_batch_whose_web_process_dies_at_its_commit_is_there_whole_or_not_at_all(
    app: Installation, tmp_path: Path, moment: str, made: bool
) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    dying = {"PYTHONPATH": str(INJECT), "CRASH_AT": f"batches.accept:{moment}:1", "CRASH_NOTES": str(notes)}
    app.start_web(**dying)
    assert submit(app) is None
    assert [path.name for path in notes.iterdir()] == [f"batches.accept:{moment}:1"]
    again = eventually(lambda: submit(app), "another process answers")  # It finds the note, and goes on.
    assert (again.status_code, "Idempotent-Replayed" in again.headers) == (202, made)
    (batch,) = app.call("GET", "/v1/batches").json()["data"]
    assert (batch["batch_id"], batch["jobs"]) == (again.json()["batch_id"], len(JOBS))
    listed = app.call("GET", f"/v1/jobs?batch_id={batch['batch_id']}&order=created_at").json()["data"]
    assert [job["track_id"] for job in listed] == again.json()["track_ids"]
    assert [job["reference"] for job in listed] == [job["reference"] for job in JOBS]


@pytest.mark.timeout(300)
def test_a_batch_is_waited_for_while_its_workers_die_and_is_told_of_once(app: Installation) -> None:
    app.start_web()
    worker = app.start("worker")
    asked = submit(app)
    assert asked is not None
    path = f"/v1/batches/{asked.json()['batch_id']}"
    eventually(lambda: app.call("GET", path).json()["counts"]["succeeded"] > 1, "some have ended")
    worker.stop(signal.SIGKILL)
    app.start("worker")
    threading.Thread(target=_decide, args=(app, asked.json()["track_ids"]), daemon=True).start()

    def over() -> bool:
        batch = app.call("GET", f"{path}?wait=20&until=archived").json()
        return batch["completed_at"] is not None and batch["archiving"] == 0

    eventually(over, "the batch is archived", 100)
    batch = app.call("GET", path).json()
    assert batch["counts"]["succeeded"] == len(JOBS), batch
    feed = app.call("GET", "/v1/events?after=0&type=batch.completed&wait=10").json()["data"]
    assert [(event["batch_id"], event["data"]["succeeded"]) for event in feed] == [(batch["batch_id"], len(JOBS))]
    lines = app.call("GET", f"/v1/export?batch_id={batch['batch_id']}").text.splitlines()
    assert {json.loads(line)["archive_status"] for line in lines} == {"archived"}
    explained = app.call("GET", f"/v1/jobs/{asked.json()['track_ids'][0]}/explain").json()
    assert "its picture is archived" in explained["verdict"]


def _decide(app: Installation, track_ids: list[str]) -> None:
    """An operator repeats what the dead worker left in doubt."""
    with contextlib.suppress(requests.RequestException):
        while True:
            left = app.call("GET", "/v1/jobs?unconfirmed=true").json()["data"]
            for job in left:
                app.call("POST", f"/v1/jobs/{job['track_id']}/resolve", json={"decision": "repeat"})
            if all(app.call("GET", f"/v1/jobs/{each}").json()["completed_at"] for each in track_ids):
                return
            threading.Event().wait(0.5)
