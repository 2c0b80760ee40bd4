"""kill -9 at every named point of every flow (F1, F3): each process dies once at each point that it comes to."""

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
}
# A lease of 30 s, perhaps one after the other: a submit's, and then a look's or a picture's.
RECOVERED_WITHIN_S = 90
COME_TO_WITHIN_S = 100


@pytest.fixture
def app(database_url: str, tmp_path: Path, free_port: int) -> Iterator[Installation]:
    """An installation with an operator, and a provider that forgets every third callback."""
    options = ("--delay", "0.2", "--callback", "once=0.7,never=0.3", "--parallel", "20")
    with installation(database_url, tmp_path, free_port, *options) as made:
        made.env |= {
            # Else the wait for evidence is made from times that hold the waits of this very test.
            "ON_UNCONFIRMED": "hold",
            "SUBMIT_ATTEMPTS": "50",
            "MODELSLAB_MAX_IN_FLIGHT": "50",
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
def test_a_death_at_any_point_of_any_flow_loses_nothing(app: Installation) -> None:
    wanted = {f"{place}:{moment}:1" for place, moments in WANTED.items() for moment in moments}
    journal = Journal()
    notes = die_at(app, "each:1")
    with fleet(app):
        with clients(app, journal):
            eventually(lambda: noted(notes) >= wanted, f"a death at each of {len(wanted)} points", COME_TO_WITHIN_S)
        eventually(lambda: all_archived(app) and all_numbered(app), "everything is archived", RECOVERED_WITHIN_S)
        seen = observe(app, journal)
    assert violations(seen) == {}
    assert {job["status"] for job in seen.jobs.values()} == {"succeeded"}
    answers = [answer for answers in journal.answers.values() for answer in answers]
    assert any(answer.replayed for answer in answers), "the answer that died after its commit came by the same key"
    assert unanswered_callbacks_on_record(seen), "a callback counts though its 200 was never sent"


def unanswered_callbacks_on_record(seen: Observation) -> list[str]:
    """The jobs whose callback was kept by a process that died before it could say so."""
    kept = {(row["track_id"], row["attempt"], row["sha256"]) for row in seen.tables["callbacks"]}
    calls = [entry for entry in seen.ledger("callback") if entry["http_status"] is None]
    return [e["track_id"] for e in calls if (e["called_track_id"], e["called_attempt"], e["kept_sha256"]) in kept]
