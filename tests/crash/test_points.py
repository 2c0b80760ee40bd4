"""kill -9 at every named point of every flow (F1, F3): each process dies once at each point that it comes to."""

import base64
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.crash.fleet import INJECT, fleet
from tests.crash.invariants import violations
from tests.crash.journal import Journal
from tests.crash.observation import Observation, observe, rows_of
from tests.e2e.installation import Installation, eventually, installation
from tests.receiver import Got, Receiver, receiving
from webhook_app.domain.events import WEBHOOK_DEFAULTS
from webhook_app.domain.webhooks import signatures

COMMIT = ("before_commit", "after_commit")
CALL = ("before_connect", "before_send", "after_call")
# Every commit and every call to a stranger of these flows; the run comes to others as well.
WANTED = {
    "accept._accept_all": COMMIT,
    "submit.claim": COMMIT,
    "submit._begin": COMMIT,
    "submit._submit": CALL,
    "submit._insist": COMMIT,
    "receive.receive": COMMIT,
    "reconcile.poll_due": COMMIT,
    "reconcile._poll_one": (*COMMIT, *CALL),
    "reconcile.decide_one": COMMIT,
    "archive.claim_images": COMMIT,
    "archive.fetch": CALL,
    "archive._put": COMMIT,
    "put.put": ("before_link", "after_call"),
    "archive._record": COMMIT,
    "seal.seal": COMMIT,
    "notify.claim": COMMIT,
    "notify.send": CALL[:2],  # What comes back is recorded by another thread.
    "notify.record": COMMIT,
}
# A lease of 30 s, perhaps one after the other: a submit's, and then a look's or a picture's.
RECOVERED_WITHIN_S = 90
COME_TO_WITHIN_S = 100


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture
def app(database_url: str, tmp_path: Path, free_port: int, receiver: Receiver) -> Iterator[Installation]:
    """An installation with an operator, and a provider that forgets every third callback."""
    options = ("--delay", "0.2", "--callback", "once=0.7,never=0.3", "--parallel", "20")
    with installation(database_url, tmp_path, free_port, *options) as made:
        made.env |= {
            # Else the wait for evidence is made from times that hold the waits of this very test.
            "ON_UNCONFIRMED": "hold",
            "SUBMIT_ATTEMPTS": "50",
            "MODELSLAB_MAX_IN_FLIGHT": "50",
            "PRIVATE_WEBHOOK_HOSTS": receiver.host_port,
            "WEB_CONCURRENCY": "1" if database_url.startswith("sqlite") else "2",
        }
        yield made


def die_at(app: Installation, plan: str) -> Path:
    """Let what is started from now on die there; returns the directory of the notes."""
    notes = app.folder / "notes"
    notes.mkdir()
    app.env |= {"PYTHONPATH": str(INJECT), "CRASH_AT": plan, "CRASH_NOTES": str(notes)}
    return notes


def noted(notes: Path) -> set[str]:
    return {path.name for path in notes.iterdir()}


def all_archived(app: Installation) -> bool:
    """Whether every job has its picture. An operator repeats the submits of which nobody knows anything."""
    jobs = rows_of(app.env["DATABASE_URL"], "jobs")["jobs"]
    for job in jobs:
        if job["unconfirmed_since"] is not None:
            with contextlib.suppress(requests.RequestException):
                app.call("POST", f"/v1/jobs/{job['track_id']}/resolve", json={"decision": "repeat"})
    return all(job["archive_status"] == "archived" for job in jobs)


def all_numbered(app: Installation) -> bool:
    return all(event["seq"] is not None for event in rows_of(app.env["DATABASE_URL"], "events")["events"])


@contextlib.contextmanager
def clients(app: Installation, journal: Journal) -> Iterator[None]:
    """Clients that ask for one picture after another while the block runs."""
    enough = threading.Event()

    def ask(name: str) -> None:
        for n in range(1000):
            journal.submit(app, f"{name} {n}")
            if enough.wait(0.7):
                return

    threads = [threading.Thread(target=ask, args=(f"client {n}",), daemon=True) for n in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        enough.set()
    for thread in threads:
        thread.join()


@pytest.mark.timeout(300)
def test_a_death_at_any_point_of_any_flow_loses_nothing(app: Installation, receiver: Receiver) -> None:
    wanted = {f"{place}:{moment}:1" for place, moments in WANTED.items() for moment in moments}
    journal = Journal()
    notes = die_at(app, "each:1")
    with fleet(app):
        secret = eventually(lambda: endpoint_of(app, receiver), "an endpoint")
        with clients(app, journal):
            eventually(lambda: noted(notes) >= wanted, f"a death at each of {len(wanted)} points", COME_TO_WITHIN_S)
        eventually(lambda: all_archived(app) and all_numbered(app), "everything is archived", RECOVERED_WITHIN_S)
        eventually(lambda: all_told(app), "every webhook is delivered", RECOVERED_WITHIN_S)
        seen = observe(app, journal)
    assert violations(seen) == {}
    assert untold(seen, receiver, secret) == []
    assert {job["status"] for job in seen.jobs.values()} == {"succeeded"}
    answers = [answer for answers in journal.answers.values() for answer in answers]
    assert any(answer.replayed for answer in answers), "the answer that died after its commit came by the same key"
    assert unanswered_callbacks_on_record(seen), "a callback counts though its 200 was never sent"


def endpoint_of(app: Installation, receiver: Receiver) -> str | None:
    """A new endpoint's secret; None where the web process died over it."""
    with contextlib.suppress(requests.RequestException):
        answer = app.call("POST", "/v1/endpoints", json={"url": receiver.url + "/hooks"})
        return str(answer.json()["secret"]) if answer.status_code == 201 else None
    return None


def all_told(app: Installation) -> bool:
    rows = rows_of(app.env["DATABASE_URL"], "deliveries")["deliveries"]
    return bool(rows) and all(row["status"] == "succeeded" for row in rows)


def untold(seen: Observation, receiver: Receiver, secret: str) -> list[str]:
    """I6: events of the default types that the receiver did not get, or got with two bodies. The last secret signed too
    where an endpoint was made twice."""
    bodies: dict[str, set[bytes]] = {}
    for got in receiver.got():
        assert {"webhook-id", "webhook-timestamp", "webhook-signature"} <= got.headers.keys()
        bodies.setdefault(got.headers["webhook-id"], set()).add(got.body)
    assert any(verifies(secret, got) for got in receiver.got())
    kinds = {kind.value for kind in WEBHOOK_DEFAULTS}
    wanted = [event["event_id"] for event in seen.tables["events"] if event["type"] in kinds]
    return [event_id for event_id in wanted if len(bodies.get(event_id, ())) != 1]


def verifies(secret: str, got: Got) -> bool:
    """Also later than the five minutes that the standard's library allows: the test may take longer."""
    raw, stamp = base64.b64decode(secret.removeprefix("whsec_")), int(got.headers["webhook-timestamp"])
    known = signatures([raw], got.headers["webhook-id"], stamp, got.body)
    return known in got.headers["webhook-signature"].split(" ")


def unanswered_callbacks_on_record(seen: Observation) -> list[str]:
    """The jobs whose callback was kept by a process that died before it could say so."""
    kept = {(row["track_id"], row["attempt"], row["sha256"]) for row in seen.tables["callbacks"]}
    calls = [entry for entry in seen.ledger("callback") if entry["http_status"] is None]
    return [e["track_id"] for e in calls if (e["called_track_id"], e["called_attempt"], e["kept_sha256"]) in kept]
