"""When a job will be ready, as answers tell it: `eta_at`, and the `Retry-After` of whoever comes too early."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.web.conftest import Api
from webhook_app.domain.estimates import LEAST_JOBS
from webhook_app.domain.events import Event, EventType
from webhook_app.flows import pausing
from webhook_app.flows.seal import seal
from webhook_app.store import events
from webhook_app.store.tables import Attempt

USUAL_S = 20.0


def learn(api: Api) -> None:
    """As many jobs of 512 x 512 pixels have just been told of, each after so many seconds."""
    now = datetime.now(UTC)
    data = {"witness": "callback", "generation_s": USUAL_S, "kind": "1x2"}
    with api.parts.store.writing() as connection:
        events.append(connection, [Event(EventType.JOB_SUCCEEDED, "provider", now, data=data)] * LEAST_JOBS)
    while seal(api.parts.store):
        pass
    api.parts.expectations.learn(api.parts.store, now=now)


def run(api: Api, track_id: str, *, ago_s: float, eta_s: float | None = None) -> None:
    """It is with the provider since then."""
    sent_at = datetime.now(UTC) - timedelta(seconds=ago_s)
    api.add(Attempt, track_id=track_id, n=1, sends=1, evidence="running", sent_at=sent_at, eta_s=eta_s)
    api.change_job(track_id, status="processing", attempt=1, spent=1, submitted_at=sent_at, waiting_for="callback")


def ready_in_s(api: Api, track_id: str) -> float | None:
    """As GET and the list tell it."""
    job = api.get(f"/v1/jobs/{track_id}").json
    (listed,) = [each for each in api.get("/v1/jobs").json["data"] if each["track_id"] == track_id]
    if job["eta_at"] is None:
        assert listed["eta_at"] is None
        return None
    found = datetime.fromisoformat(job["eta_at"])
    assert abs(datetime.fromisoformat(listed["eta_at"]) - found) < timedelta(seconds=5)
    return (found - datetime.now(UTC)).total_seconds()


def about(seconds: float) -> object:
    return pytest.approx(seconds, rel=0.1, abs=3)


def test_a_job_with_the_provider_is_ready_as_its_kind_is(api: Api) -> None:
    learn(api)
    track_id = api.submit()
    run(api, track_id, ago_s=5, eta_s=300)
    assert ready_in_s(api, track_id) == about(USUAL_S - 5)
    api.change_job(track_id, status="succeeded", completed_at=datetime.now(UTC), archive_status="pending")
    assert ready_in_s(api, track_id) is None


def test_one_that_takes_longer_than_all_has_none(api: Api) -> None:
    learn(api)
    track_id = api.submit()
    run(api, track_id, ago_s=100)
    assert ready_in_s(api, track_id) is None


def test_without_history_the_provider_s_word_is_told(api: Api) -> None:
    said, silent = api.submit(), api.submit()
    run(api, said, ago_s=5, eta_s=65)
    run(api, silent, ago_s=5)
    assert ready_in_s(api, said) == about(60)
    assert ready_in_s(api, silent) is None


def test_a_queued_job_adds_its_place_over_the_slots(api: Api) -> None:
    assert ready_in_s(api, api.submit()) is None
    learn(api)
    track_ids = [api.submit() for _ in range(9)]
    assert api.get(f"/v1/jobs/{track_ids[-1]}").json["queue_position"] == 10
    assert ready_in_s(api, track_ids[-1]) == about(10 * USUAL_S / 5 + USUAL_S)
    pausing.pause(api.parts.store, "modelslab", reason="maintenance", by="operator", until=None, now=datetime.now(UTC))
    assert ready_in_s(api, track_ids[-1]) is None


def test_a_submit_says_when_to_look_again(api: Api) -> None:
    asked = {"input": {"prompt": "a lighthouse"}}
    assert api.post("/v1/jobs", asked).headers["Retry-After"] == "2"
    learn(api)
    assert int(api.post("/v1/jobs", asked).headers["Retry-After"]) == about(USUAL_S)


def test_a_picture_that_is_not_ready_says_when_it_should_be(api: Api) -> None:
    track_id = api.submit()
    path = f"/images/{api.get(f'/v1/jobs/{track_id}').json['images'][0]['image_id']}.png"
    before = api.get(path)
    assert (before.status_code, before.json["code"]) == (404, "image_not_ready")
    learn(api)
    assert int(api.get(path).headers["Retry-After"]) == about(USUAL_S)
    run(api, track_id, ago_s=10)
    assert int(api.get(path).headers["Retry-After"]) == about(USUAL_S - 10)
    assert before.headers["Retry-After"]
