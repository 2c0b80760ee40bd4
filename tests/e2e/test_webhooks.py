"""Webhooks of a real installation: web, worker and emulator as processes, and a receiver that verifies."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from tests.crash.observation import rows_of
from tests.e2e.installation import Installation, Process, eventually, installation
from tests.receiver import Answer, Got, Receiver, receiving, reset


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture
def app(database_url: str, tmp_path: Path, free_port: int, receiver: Receiver) -> Iterator[Installation]:
    with installation(database_url, tmp_path, free_port) as made:
        made.env["PRIVATE_WEBHOOK_HOSTS"] = receiver.host_port
        made.start_web()
        yield made


def endpoint(app: Installation, url: str, *events: str) -> dict[str, str]:
    answer = app.call("POST", "/v1/endpoints", json={"url": url, "events": list(events) or None})
    assert answer.status_code == 201, answer.text
    made: dict[str, str] = answer.json()
    return made


def told(got: list[Got], secret: str) -> dict[str, dict]:
    """The bodies by type; each verifies."""
    bodies = [Webhook(secret).verify(each.body, each.headers) for each in got]
    return {body["type"]: body for body in bodies}


def submit(app: Installation, **members: object) -> str:
    answer = app.submit("a lighthouse", **members)
    assert answer.status_code == 202, answer.text
    track_id: str = answer.json()["track_id"]
    return track_id


def test_everyone_who_should_be_told_is_told_once_and_can_verify_it(app: Installation, receiver: Receiver) -> None:
    app.start("worker")
    secret = endpoint(app, receiver.url + "/endpoint")["secret"]
    default = app.call("GET", "/v1/webhooks/default/secret").json()["key"]
    track_id = submit(app, webhook=receiver.url + "/own", webhook_events=["job.archived"], reference="order-42")
    bodies = told(receiver.wait_for(2, "/endpoint"), secret)
    own = told(receiver.wait_for(1, "/own"), default)
    assert set(bodies) == {"job.succeeded", "job.archived"}
    assert set(own) == {"job.archived"}
    shown = app.call("GET", f"/v1/jobs/{track_id}").json()
    assert bodies["job.archived"]["data"]["job"] == shown
    assert own["job.archived"]["data"] == bodies["job.archived"]["data"]
    eventually(lambda: statuses(app, track_id) == ["succeeded"] * 3, "all three are recorded")
    assert len(receiver.got()) == 3
    url = receiver.answer("/hook-with-a-token-in-it", Answer(500), Answer(410))
    secret = endpoint(app, url)["secret"]
    submit(app)
    receiver.wait_for(2, "/hook-with-a-token-in-it")
    eventually(lambda: "gone" in reasons(app), "its endpoint is disabled")
    nothing_is_told(app, "hook-with-a-token-in-it", secret)


def reasons(app: Installation) -> list[str | None]:
    return [each["disabled_reason"] for each in app.call("GET", "/v1/endpoints").json()["data"]]


def nothing_is_told(app: Installation, path: str, secret: str) -> None:
    """Neither an endpoint's path nor its secret is in a log or in what anybody may read of deliveries."""
    printed = app.output()
    assert path not in printed
    assert secret.removeprefix("whsec_") not in printed
    assert "whsec_" not in app.call("GET", "/v1/deliveries").text


def statuses(app: Installation, track_id: str) -> list[str]:
    return [row["status"] for row in app.call("GET", f"/v1/deliveries?track_id={track_id}").json()["data"]]


def test_an_answer_that_was_lost_brings_the_same_again(app: Installation, receiver: Receiver) -> None:
    app.start("worker")
    secret = endpoint(app, receiver.answer("/lossy", Answer(act=reset), Answer(200)), "job.succeeded")["secret"]
    track_id = submit(app)
    first, second = receiver.wait_for(2, "/lossy")
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert told([first, second], secret)["job.succeeded"]["data"]["job"]["track_id"] == track_id
    eventually(lambda: statuses(app, track_id) == ["succeeded"], "the second try is recorded")


def test_a_worker_killed_between_send_and_record_sends_the_same_again(app: Installation, receiver: Receiver) -> None:
    killed = app.start("worker")
    kill = Answer(act=lambda _handler: kill_now(killed))
    secret = endpoint(app, receiver.answer("/deadly", kill, Answer(200)), "job.succeeded")["secret"]
    track_id = submit(app)
    receiver.wait_for(1, "/deadly")
    eventually(lambda: killed.popen.poll() is not None, "the worker is dead")
    app.start("worker")
    first, second = receiver.wait_for(2, "/deadly", patience_s=90)
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    assert told([second], secret)["job.succeeded"]["data"]["job"]["track_id"] == track_id
    eventually(lambda: statuses(app, track_id) == ["succeeded"], "the second send is recorded")
    (row,) = rows_of(app.env["DATABASE_URL"], "deliveries")["deliveries"]
    assert row["attempts"] == 1, "nobody knows of the first"


def kill_now(process: Process) -> None:
    os.kill(process.popen.pid, signal.SIGKILL)
