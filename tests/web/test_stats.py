"""`GET /v1/stats`: what is counted, in which window, and for whom."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.web.conftest import Api
from tests.web.test_problems import problem
from webhook_app.domain.durations import RELATIVE_ERROR
from webhook_app.domain.events import Event, EventType
from webhook_app.flows.seal import seal
from webhook_app.store import events
from webhook_app.store.tables import Attempt
from webhook_app.web.api.stats import Stats

NOTHING: dict[str, Any] = {"count": 0, "p50": None, "p95": None, "p99": None}


def client_id_of(api: Api) -> str:
    found: str = api.get("/v1/stats").json["client_id"]
    return found


def stats(api: Api, query: str = "") -> dict[str, Any]:
    response = api.get(f"/v1/stats?{query}")
    assert response.status_code == 200, response.text
    Stats.model_validate(response.json)
    found: dict[str, Any] = response.json
    return found


def log(api: Api, client_id: str | None, kind: EventType, ago: timedelta = timedelta(0), **data: Any) -> None:
    with api.parts.store.writing() as connection:
        at = datetime.now(UTC) - ago
        events.append(connection, [Event(kind, "worker", at, None, client_id, data=data)])
    seal(api.parts.store)


def test_nothing_has_happened_yet(api: Api) -> None:
    found = stats(api)
    assert set(found["counts"].values()) == {0}
    assert found["success_rate"] is None
    assert found["percentiles"] == {"queue_s": NOTHING, "generation_s": NOTHING, "archive_s": NOTHING}
    assert set(found["callbacks"].values()) == {0}


def test_it_counts_what_stands_and_what_has_ended(api: Api) -> None:
    me = client_id_of(api)
    queued, sent = api.submit(), api.submit()
    later = datetime.now(UTC) + timedelta(hours=1)
    api.change_job(sent, status="processing", deadline_at=later)
    for kind, times in {EventType.JOB_SUCCEEDED: 3, EventType.JOB_FAILED: 1, EventType.JOB_CANCELED: 2}.items():
        for _ in range(times):
            log(api, me, kind)
    log(api, me, EventType.JOB_TIMED_OUT)
    log(api, me, EventType.JOB_SUCCEEDED, previous_status="timed_out", witness="poll")
    log(api, me, EventType.CALLBACK_RECEIVED)
    log(api, me, EventType.CALLBACK_IGNORED)
    log(api, me, EventType.JOB_SUBMITTED)
    log(api, me, EventType.JOB_ARCHIVED, bytes=12)
    found = stats(api)
    assert found["counts"] == {
        "queued": 1,
        "submitting": 0,
        "processing": 1,
        "succeeded": 4,
        "failed": 1,
        "canceled": 2,
        "timed_out": 0,
    }
    assert found["success_rate"] == 0.8
    assert found["callbacks"] == {"received": 1, "ignored": 1, "orphaned": 0, "lost": 1, "recovered": 1}
    assert (found["submits"], found["bytes_archived"]) == (1, 12)
    assert queued != sent


def test_percentiles_are_within_the_stated_error(api: Api) -> None:
    me = client_id_of(api)
    spans = sorted(random.Random(1).lognormvariate(1, 1) for _ in range(99))
    for span in spans:
        log(api, me, EventType.JOB_SUCCEEDED, generation_s=span)
    found = stats(api)["percentiles"]["generation_s"]
    assert found["count"] == 99
    for name, exact in {"p50": spans[49], "p95": spans[94], "p99": spans[98]}.items():
        assert found[name] == pytest.approx(exact, rel=RELATIVE_ERROR)


def test_a_window_has_what_happened_in_it(api: Api) -> None:
    me = client_id_of(api)
    for minutes in (0, 30, 90, 60 * 26, 60 * 24 * 40):
        log(api, me, EventType.JOB_SUBMITTED, ago=timedelta(minutes=minutes))
    windows = {600: 1, 3600: 2, 7200: 3, 86_400: 3, 2 * 86_400: 4, 31_536_000: 5}
    assert {span: stats(api, f"window_s={span}")["submits"] for span in windows} == windows


def test_the_bounds_that_were_used_are_told(api: Api) -> None:
    found = stats(api, "window_s=60")
    begins_at, ends_at = (datetime.fromisoformat(found[name]) for name in ("begins_at", "ends_at"))
    assert begins_at.second == begins_at.microsecond == 0
    assert timedelta(seconds=60) <= ends_at - begins_at < timedelta(seconds=120)


@pytest.mark.parametrize("value", ["59", "31536001", "-1", "x", "1.5", "", "1e3"])
def test_a_window_that_cannot_be_is_refused_by_name(api: Api, value: str) -> None:
    answer = problem(api.get(f"/v1/stats?window_s={value}"), 422, "invalid_field")
    assert answer["errors"][0]["pointer"] == "/window_s"


def test_everyone_sees_their_own_and_an_admin_all(api: Api, stranger: Api, admin: Api) -> None:
    mine, theirs = client_id_of(api), client_id_of(stranger)
    for client_id, times in {mine: 2, theirs: 3, None: 4}.items():
        for _ in range(times):
            log(api, client_id, EventType.CALLBACK_ORPHANED)
    api.submit()

    def seen(caller: Api, query: str = "") -> tuple[int, int]:
        found = stats(caller, query)
        return found["callbacks"]["orphaned"], found["counts"]["queued"]

    assert (seen(api), seen(stranger), seen(admin)) == ((2, 1), (3, 0), (9, 1))
    assert seen(admin, f"client_id={theirs}") == (3, 0)
    assert seen(api, f"client_id={mine}") == (2, 1)
    problem(api.get(f"/v1/stats?client_id={theirs}"), 403, "insufficient_scope")


def test_repeats_are_those_of_the_clients_own_jobs(api: Api, stranger: Api, admin: Api) -> None:
    now = datetime.now(UTC)
    for caller, evidence in ((api, "success"), (api, "not_sent"), (stranger, "none")):
        at = {"sent_at": now, "evidence": evidence}
        caller.add(Attempt, track_id=caller.submit(), n=2, repeats_unconfirmed=True, **at)
    told = {}
    for name, caller in {"api": api, "stranger": stranger, "admin": admin}.items():
        found = stats(caller)
        told[name] = found["repeats_after_unconfirmed"], found["possible_double_charges"]
    assert told == {"api": (2, 1), "stranger": (1, 1), "admin": (3, 2)}
