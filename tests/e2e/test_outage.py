"""The database goes away and comes back: callbacks are answered 200 all the while, and all of them count."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests import databases
from tests.e2e.installation import PROVIDER_KEY, SECRET, Installation, eventually, installation
from webhook_app.domain.tokens import Tokens
from webhook_app.store import migrations

TOKENS = Tokens((SECRET,))


@pytest.fixture
def own() -> Iterator[databases.OwnServer]:
    with databases.own_server() as server:
        yield server


@pytest.fixture
def app(own: databases.OwnServer, tmp_path: Path, free_port: int) -> Iterator[Installation]:
    with databases.postgresql_database(own.url) as url:
        migrations.upgrade(url)
        with installation(url, tmp_path, free_port, "--delay", "600") as made:
            yield made
            if not databases.answers(own.url):
                own.start()


def call_back(app: Installation, track_id: str) -> requests.Response:
    """A success, as the provider would tell it."""
    body = {"status": "success", "id": 7, "track_id": track_id, "output": [f"{app.emulator_url}/none/{track_id}.png"]}
    path = f"/callbacks/modelslab/{track_id}/{TOKENS.callback('modelslab', track_id, 1)}"
    return requests.post(app.url + path, json=body, timeout=20)


def processing(app: Installation, prompt: str) -> str:
    """A job that is with the provider."""
    track_id: str = app.submit(prompt).json()["track_id"]
    eventually(lambda: app.call("GET", f"/v1/jobs/{track_id}").json()["status"] == "processing", "it is processing")
    return track_id


def readiness(app: Installation) -> dict[str, object]:
    found: dict[str, object] = requests.get(f"{app.url}/readyz", timeout=20).json()
    return found


# The storm stops it in the other ways.
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["fast", "kill"])
def test_callbacks_outlive_a_database_that_stops(app: Installation, own: databases.OwnServer, how: int) -> None:
    app.start_web(WEB_CONCURRENCY="2")
    app.start("worker")
    jobs = [processing(app, f"outage {n}") for n in range(3)]

    own.stop(how)
    assert [call_back(app, track_id).status_code for track_id in jobs] == [200] * 3
    assert (readiness(app)["status"], readiness(app)["database"]) == ("degraded", "down")
    refused = app.call("GET", f"/v1/jobs/{jobs[0]}")
    assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
    assert refused.elapsed.total_seconds() < 5
    assert int(refused.headers["Retry-After"]) > 0

    own.start()
    for track_id in jobs:
        eventually(lambda t=track_id: app.call("GET", f"/v1/jobs/{t}").json().get("status") == "succeeded", "it counts")
    eventually(lambda: readiness(app)["status"] == "ready", "it is ready again")
    assert readiness(app)["spool"] == {"entries": 0, "writable": True}


def test_web_starts_without_its_database_and_a_killed_one_leaves_its_spool_to_others(
    app: Installation, own: databases.OwnServer
) -> None:
    web = app.start_web()
    worker = app.start("worker")
    jobs = [processing(app, f"killed {n}") for n in range(2)]
    worker.stop()
    web.stop()
    own.stop(signal.SIGINT)

    web = app.start_web()
    assert [call_back(app, track_id).status_code for track_id in jobs] == [200] * 2
    children = Path(f"/proc/{web.popen.pid}/task/{web.popen.pid}/children").read_text().split()
    web.stop(signal.SIGKILL)
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    spool = Path(app.env["DATA_DIR"]) / "spool"
    (torn,) = spool.glob("*.spool")
    kept = torn.read_text()
    assert all(track_id in kept for track_id in jobs)
    tokens = [str(submit["webhook"]).rpartition(".")[2] for submit in app.ledger("submit")]
    assert not [secret for secret in (PROVIDER_KEY, SECRET, app.key, *tokens) if secret in kept]
    with torn.open("ab") as file:
        file.write(b"deadbeef {half an en")

    own.start()
    app.start("worker")
    app.start_web()
    for track_id in jobs:
        eventually(lambda t=track_id: app.call("GET", f"/v1/jobs/{t}").json().get("status") == "succeeded", "it counts")
    assert b"half an en" in b"".join(path.read_bytes() for path in spool.glob("*.unreadable"))
    assert list(spool.glob("*.spool")) == []
