"""A check that cannot fail proves nothing: each invariant holds for a sound run, and notices what breaks it."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from tests.crash.invariants import violations
from tests.crash.journal import Answer, Journal
from tests.crash.observation import Observation

JOB, PICTURE, BODY = "0192f3c4-5d6e-7f80-9a1b-2c3d4e5f6071", "ab" * 32, "cd" * 32
FATE = {"ending": "success", "callback": "once", "fetch_form": "thin"}
CALLED = {"track_id": JOB, "id": 7, "called_track_id": JOB, "called_attempt": 1}


def event(position: int, kind: str, **data: Any) -> dict[str, Any]:
    chain = {"hash": None, "previous_hash": None}
    named = {"event_id": f"evt_{position}", "position": position, "seq": position, "type": kind, "track_id": JOB}
    return named | chain | {"data": data}


def sound() -> Observation:
    """One job that went well."""
    events = [
        event(1, "job.queued"),
        event(2, "job.submitted", attempt=1),
        event(3, "callback.received", attempt=1),
        event(4, "job.succeeded", attempt=1),
        event(5, "job.archived"),
    ]
    job = {"track_id": JOB, "status": "succeeded", "lease_owner": None, "deadline_at": None, "waiting_for": None}
    image = {"image_id": "img_1", "track_id": JOB, "status": "archived", "sha256": PICTURE, "lease_owner": None}
    tables = {
        "jobs": [job | {"error": None}],
        "attempts": [{"track_id": JOB, "n": 1, "sends": 1, "evidence": "success"}],
        "callbacks": [{"track_id": JOB, "attempt": 1, "sha256": BODY, "times_seen": 1, "applied_at": "now"}],
        "images": [image | {"reason": None}],
        "blobs": [{"sha256": PICTURE, "reference_count": 1}],
        "events": events,
        "idempotency": [{"key": "k", "track_id": JOB}],
        "slots": [{"n": 0, "track_id": None}],
    }
    entries = [
        {"kind": "submit", "taken": True, "fault": None, "refused": None, "fate": FATE} | CALLED,
        {"kind": "callback", "says": "result", "http_status": 200, "kept_sha256": BODY} | CALLED,
        {"kind": "picture", "track_id": JOB, "sha256": PICTURE},
    ]
    journal = Journal(answers={"k": [Answer(202, f"/v1/jobs/{JOB}", JOB, False)]})
    return Observation(tables, entries, journal, {PICTURE: PICTURE}, {"worker-2": "quiet"}, ("s3cret",), events[:3])


def change(table: str, **values: Any) -> Callable[[Observation], None]:
    return lambda seen: seen.tables[table][0].update(values)


def add_event(kind: str, **data: Any) -> Callable[[Observation], None]:
    return lambda seen: seen.tables["events"].append(event(6, kind, **data))


def double(kind: str) -> Callable[[Observation], None]:
    return lambda seen: seen.entries.extend(entry for entry in list(seen.entries) if entry["kind"] == kind)


def answer_otherwise(seen: Observation) -> None:
    seen.journal.answers["k"].append(Answer(202, "/v1/jobs/other", "other", True))


def acknowledge_another(seen: Observation) -> None:
    seen.journal.answers["another"] = [Answer(202, "/v1/jobs/gone", "gone", False)]


BREAKS: list[tuple[str, str, Callable[[Observation], object]]] = [
    ("I1", "a job is gone", acknowledge_another),
    ("I1", "a success that was told is none", change("jobs", status="timed_out")),
    ("I1", "a job never ends", change("jobs", status="submitting")),
    ("I2", "an answered callback is not kept", lambda seen: seen.tables["callbacks"].clear()),
    ("I2", "a kept callback is not applied", change("callbacks", applied_at=None)),
    ("I2", "a double is not counted", double("callback")),
    ("I3", "other bytes than were served", change("images", sha256="ef" * 32)),
    ("I3", "a broken object", lambda seen: seen.objects.update({PICTURE: BODY})),
    ("I3", "a missing object", lambda seen: seen.objects.clear()),
    ("I3", "an object of nobody", lambda seen: seen.objects.update({BODY: BODY})),
    ("I3", "a picture that was not copied", change("images", status="lost")),
    ("I3", "a reference too many", change("blobs", reference_count=2)),
    ("I4", "out of a success", add_event("job.failed", attempt=1)),
    ("I4", "another status than the log tells", change("jobs", status="failed")),
    ("I5", "taken twice", double("submit")),
    ("I5", "sent without a record", change("attempts", sends=0)),
    ("I5", "another attempt without a reason", add_event("job.submitted", attempt=2)),
    ("I5", "the same attempt again after it was unconfirmed", add_event("job.submitted", attempt=1)),
    ("I7", "another answer to the same key", answer_otherwise),
    ("I7", "a key that is not on record", lambda seen: seen.tables["idempotency"].clear()),
    ("I8", "a gap", change("events", seq=9)),
    ("I8", "an event without a number", change("events", seq=None)),
    ("I8", "a changed event", change("events", data={"number": 2})),
    ("I8", "a removed event", lambda seen: seen.tables["events"].pop(1)),
    ("I10", "archived twice", add_event("job.archived")),
    ("I10", "a lease for ever", change("jobs", lease_owner="w1")),
    ("I10", "a slot for ever", change("slots", track_id=JOB)),
    ("I11", "a secret in a log", lambda seen: seen.texts.update({"worker-2": "key=s3cret"})),
]


def test_a_sound_run_violates_nothing() -> None:
    assert violations(sound()) == {}


@pytest.mark.parametrize(("invariant", "what", "broken"), BREAKS, ids=[f"{i} {what}" for i, what, _ in BREAKS])
def test_what_breaks_an_invariant_is_noticed(
    invariant: str, what: str, broken: Callable[[Observation], object]
) -> None:
    fresh = sound()
    seen = replace(
        fresh,
        tables=deepcopy(fresh.tables),
        entries=deepcopy(fresh.entries),
        earlier_events=deepcopy(fresh.earlier_events),
    )
    broken(seen)
    assert invariant in violations(seen)
