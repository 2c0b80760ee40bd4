"""Everything that can go wrong between a worker and its provider (reliability.md, F12 to F16), over real sockets: what
the job says meanwhile, how it ends, and how often the provider was asked."""

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from tests import databases
from tests.e2e.installation import SECRET, Installation, eventually, installation
from webhook_app.domain.tokens import Tokens

TOKENS = Tokens((SECRET,))
CERTIFICATE = Path(__file__).parents[1] / "net" / "localhost.pem"
MANNERS = {
    "submit_fault": "none",
    "callback": "once",
    "fetch_form": "thin",
    "delay_s": 0.5,
    "silence_s": 1,
    "slow_s": 1,
}
WORKER = {"SUBMIT_CONFIRM_S": "1", "MODELSLAB_MAX_IN_FLIGHT": "100", "WORKER_THREADS": "16"}


@dataclass(frozen=True)
class Case:
    """How the emulator treats one job, and what has to come of it. `submits` and `attempts` are exact."""

    ways: dict[str, Any]
    status: str = "succeeded"
    submits: int = 1
    attempts: int = 1
    unconfirmed: bool = False
    asked: dict[str, Any] = field(default_factory=dict)


def taken(fault: str) -> Case:
    """The provider has it, and its callback is the evidence. The callback comes after the fault."""
    return Case({"submit_fault": fault, "delay_s": 1.5}, unconfirmed=True)


def fetched(form: str, status: str = "succeeded", **asked: Any) -> Case:
    """Polls alone have to tell."""
    return Case({"callback": "never", "fetch_form": form, "delay_s": 0.1}, status=status, asked=asked)


CASES = {
    "nothing goes wrong": Case({}),
    "reset after read": taken("reset_after_read"),
    "silent": taken("silent"),
    "headers only": taken("headers_only"),
    "cut": taken("cut"),
    "garbage": taken("garbage"),
    "an HTML 502, but taken": taken("html_502_taken"),
    "slow": Case({"submit_fault": "slow"}),
    "callback before the answer": Case({"callback": "early"}),
    "callback before a slow answer": Case({"callback": "early", "submit_fault": "slow"}),
    "callback twice": Case({"callback": "twice"}),
    "callback late": Case({"callback": "late", "callback_late_s": 3}),
    "processing and failed after success": Case({"callback": "reordered"}),
    "callback without track_id": Case({"callback": "untracked"}),
    "a forged failure first": Case({"callback": "forged"}),
    "callback malformed": Case({"callback": "malformed", "delay_s": 0.1}),
    "callback too large": Case({"callback": "huge", "delay_s": 0.1}),
    "callback in HTML": Case({"callback": "html", "delay_s": 0.1}),
    "callback lost": fetched("thin"),
    "a success without pictures": fetched("missing_pictures"),
    "processing for ever": fetched("processing", "timed_out", timeout_s=5),
    "an unknown id": fetched("unknown", "timed_out", timeout_s=5),
    "a call that fails": fetched("error", "timed_out", timeout_s=5),
    "HTML for ever": fetched("html", "timed_out", timeout_s=5),
    "another job's data": fetched("other_job", "timed_out", timeout_s=5),
    # Those that are sent again come last: by then the emulator behaves.
    "reset before read": Case({"submit_fault": "reset_before_read"}, submits=2, attempts=2, unconfirmed=True),
    "an HTML 502": Case({"submit_fault": "html_502"}, submits=2, attempts=2, unconfirmed=True),
    "taken and never heard of": Case(
        {"submit_fault": "reset_after_read", "callback": "never"}, submits=2, attempts=2, unconfirmed=True
    ),
    "try again, says JSON at 503": Case({"submit_fault": "json_503"}, submits=2, attempts=2),
    "no room": Case({"submit_fault": "rate_limited", "retry_after_s": 1}, submits=2),
}


@pytest.fixture
def app(database_url: str, tmp_path: Path, free_port: int) -> Iterator[Installation]:
    with installation(database_url, tmp_path, free_port, "--delay", "0.5") as made:
        made.start_web()
        yield made


def send(app: Installation, name: str, case: Case) -> str:
    """Submit a job and wait until the provider has heard of it, treating it as the case says."""
    app.provider(**MANNERS | case.ways)
    answer = app.submit(name, **case.asked)
    assert answer.status_code == 202, answer.text
    track_id: str = answer.json()["track_id"]
    eventually(lambda: app.ledger("submit", track_id), f"{name}: the provider has heard of it")
    return track_id


def job_of(app: Installation, track_id: str, until: str = "terminal") -> dict[str, Any]:
    """The job as soon as it has ended."""

    def ended() -> dict[str, Any] | None:
        job: dict[str, Any] = app.call("GET", f"/v1/jobs/{track_id}?wait=10&until={until}").json()
        return job if job["completed_at"] else None

    job: dict[str, Any] = eventually(ended, f"{track_id} has ended")
    return job


def history(app: Installation, track_id: str, kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = app.call("GET", f"/v1/jobs/{track_id}/{kind}?limit=200").json()["data"]
    return found


def call_back(app: Installation, track_id: str) -> int:
    """A success, as the provider would tell it of the first attempt."""
    body = {"status": "success", "id": 7, "track_id": track_id, "output": [f"{app.emulator_url}/none/{track_id}.png"]}
    path = f"/callbacks/modelslab/{track_id}/{TOKENS.callback('modelslab', track_id, 1)}"
    return requests.post(app.url + path, json=body, timeout=20).status_code


def told(app: Installation, case: Case, track_id: str) -> dict[str, Any]:
    """What became of a job, in the words of its case."""
    job, events = job_of(app, track_id), [event["type"] for event in history(app, track_id, "events")]
    assert events.count(f"job.{case.status}") == 1
    assert job["waiting_for"] in (None, "archive")
    assert job["unconfirmed_since"] is None
    return {
        "status": job["status"],
        "submits": len(app.ledger("submit", track_id)),
        "attempts": job["attempt"],
        "unconfirmed": "submit.unconfirmed" in events,
    }


def test_every_fault_between_worker_and_provider_has_its_end(app: Installation) -> None:
    app.start("worker", **WORKER)
    track_ids = {name: send(app, name, case) for name, case in CASES.items()}
    app.provider(**MANNERS)
    due = {
        name: {
            "status": case.status,
            "submits": case.submits,
            "attempts": case.attempts,
            "unconfirmed": case.unconfirmed,
        }
        for name, case in CASES.items()
    }
    assert {name: told(app, CASES[name], track_id) for name, track_id in track_ids.items()} == due

    # No picture of another job's, and a late success wins over every time-out.
    late = [track_ids[name] for name, case in CASES.items() if case.status == "timed_out"]
    assert job_of(app, track_ids["another job's data"])["images"][0]["source_url"] is None
    assert {call_back(app, track_id) for track_id in late} == {200}
    for track_id in late:
        job = app.call("GET", f"/v1/jobs/{track_id}").json()
        assert (job["status"], job["previous_status"], job["error"]) == ("succeeded", "timed_out", None)
    (resent,) = history(app, track_ids["no room"], "attempts")
    assert resent["sends"] == 2
    assert [entry["http_status"] for entry in app.ledger("callback", track_ids["a forged failure first"])] == [404, 200]


def settled(app: Installation, track_id: str, state: str) -> dict[str, Any]:
    """The job once it waits for this."""

    def waits() -> dict[str, Any] | None:
        job: dict[str, Any] = app.call("GET", f"/v1/jobs/{track_id}").json()
        return job if job["waiting_for"] == state else None

    job: dict[str, Any] = eventually(waits, f"{track_id} waits for {state}")
    return job


def test_an_unconfirmed_submit_is_held_or_failed_as_the_operator_wants(app: Installation) -> None:
    names = ("html_502", "reset_after_read")
    worker = app.start("worker", **WORKER, ON_UNCONFIRMED="hold")
    cases = {name: Case({"submit_fault": name, "callback": "never"}) for name in names}
    track_ids = [send(app, name, case) for name, case in cases.items()]
    held = [settled(app, track_id, "confirmation") for track_id in track_ids]
    assert all(job["unconfirmed_since"] and job["status"] == "submitting" for job in held)
    # Longer than any decision would take.
    waited = app.call("GET", f"/v1/jobs/{track_ids[0]}?wait=5").json()
    assert (waited["status"], waited["waiting_for"]) == ("submitting", "confirmation")
    assert [len(app.ledger("submit", track_id)) for track_id in track_ids] == [1, 1]
    assert worker.stop() == 0

    app.start("worker", **WORKER, ON_UNCONFIRMED="fail")
    for track_id in track_ids:
        job = job_of(app, track_id)
        assert (job["status"], job["error"]["code"], job["attempt"]) == ("failed", "submit_unconfirmed", 1)
    assert call_back(app, track_ids[1]) == 200
    job = job_of(app, track_ids[1])
    assert (job["status"], job["previous_status"], job["error"]) == ("succeeded", "failed", None)
    assert len(app.ledger("submit")) == 2


def kill_while_it_waits(app: Installation, callback: str) -> str:
    """A worker dies between its request and the answer to it."""
    worker = app.start("worker", **WORKER)
    track_id = send(app, "killed", Case({"submit_fault": "slow", "slow_s": 20, "callback": callback}))
    worker.stop(signal.SIGKILL)
    return track_id


def test_a_worker_killed_while_it_waits_leaves_it_to_the_callback(app: Installation) -> None:
    track_id = kill_while_it_waits(app, "once")
    job = job_of(app, track_id)
    assert (job["status"], job["attempt"], job["unconfirmed_since"]) == ("succeeded", 1, None)
    app.provider(**MANNERS)
    app.start("worker", **WORKER)
    assert job_of(app, track_id, until="archived")["images"][0]["source_url"]
    assert job_of(app, app.submit("the next").json()["track_id"])["status"] == "succeeded"
    assert len(app.ledger("submit", track_id)) == 1


@pytest.mark.long
def test_a_worker_killed_while_it_waits_is_noticed_by_its_lease(app: Installation) -> None:
    track_id = kill_while_it_waits(app, "never")
    app.provider(**MANNERS)
    app.start("worker", **WORKER)
    job = job_of(app, track_id)
    assert (job["status"], job["attempt"], len(app.ledger("submit", track_id))) == ("succeeded", 2, 2)
    notes = [attempt["note"] for attempt in history(app, track_id, "attempts")]
    assert notes == ["the worker died while it was sending", None]


@contextlib.contextmanager
def tls_emulator(app: Installation) -> Iterator[str]:
    """An emulator behind a certificate that nobody trusts; its base URL."""
    acted = app.start("emulator", "--port", "0", "--tls-certificate", str(CERTIFICATE), "--tls-key", str(CERTIFICATE))
    lines = eventually(lambda: [x for x in acted.log.read_text().splitlines() if x.startswith("https")], "it listens")
    yield lines[0]
    acted.stop()


def test_what_never_reached_the_provider_costs_no_attempt(app: Installation) -> None:
    track_id = app.submit("nobody home").json()["track_id"]
    with tls_emulator(app) as over_tls:
        refused = f"http://127.0.0.1:{databases.free_port()}/api/v1/enterprise"
        for road in (refused, "https://nowhere.invalid/api/v1/enterprise", over_tls):
            before = sends(app, track_id)
            worker = app.start("worker", **WORKER, MODELSLAB_URL=road)
            eventually(lambda before=before: sends(app, track_id) > before, f"{road} was tried")
            job = settled(app, track_id, "retry_at")
            assert (job["status"], job["attempt"], job["deadline_at"]) == ("queued", 1, None)
            assert history(app, track_id, "attempts")[0]["evidence"] == "not_sent"
            assert worker.stop() == 0
    app.start("worker", **WORKER)
    job = job_of(app, track_id)
    assert (job["status"], job["attempt"]) == ("succeeded", 1)
    (attempt,) = history(app, track_id, "attempts")
    assert attempt["sends"] >= 4
    assert len(app.ledger("submit")) == 1


def sends(app: Installation, track_id: str) -> int:
    return sum(attempt["sends"] for attempt in history(app, track_id, "attempts"))
