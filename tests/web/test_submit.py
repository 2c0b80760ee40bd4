"""`POST /v1/jobs`: on record at once, never made twice, and answered late when asked to."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from sqlalchemy import event, func, select
from sqlalchemy.exc import OperationalError

from tests.web.conftest import NOW, Api
from tests.web.test_problems import problem
from webhook_app.domain.ids import is_track_id
from webhook_app.store.tables import Job
from webhook_app.web.answers import JobAnswer
from webhook_app.web.app import create_app
from webhook_app.wiring import Parts

ASKED: dict[str, Any] = {
    "provider": "modelslab",
    "model": "flux/text2img",
    "input": {"prompt": "An astronaut riding a horse", "width": "768", "height": 1024, "samples": 2, "seed": 7},
    "reference": "order-42",
    "webhook": "https://client.example/hooks",
    "webhook_events": ["job.succeeded", "job.failed"],
    "metadata": {"campaign": "spring"},
    "tags": ["spring"],
    "priority": -3,
    "timeout_s": 60,
}


def how_many(parts: Parts) -> int:
    with parts.store.reading() as connection:
        return connection.scalar(select(func.count()).select_from(Job)) or 0


def succeed(api: Api, track_id: str) -> None:
    api.change_job(track_id, status="succeeded", completed_at=NOW, waiting_for=None, due_at=None)


def test_a_job_is_taken_and_shown_as_the_contract_says(api: Api) -> None:
    response = api.post("/v1/jobs", ASKED)
    assert response.status_code == 202
    assert response.headers["Retry-After"]
    job = response.json
    assert is_track_id(job["track_id"])
    assert response.headers["Location"] == job["urls"]["get"] == f"http://127.0.0.1:8000/v1/jobs/{job['track_id']}"
    assert list(job) == list(JobAnswer.model_fields)
    JobAnswer.model_validate(job)
    same = ("provider", "model", "reference", "webhook", "webhook_events", "metadata", "tags", "priority", "timeout_s")
    assert {name: job[name] for name in same} == {name: ASKED[name] for name in same}
    assert job["input"] == ASKED["input"] | {"width": 768}
    assert (job["status"], job["seed"], job["attempt"], job["waiting_for"]) == ("queued", 7, 0, "provider_slot")
    assert [image["index"] for image in job["images"]] == [0, 1]
    assert job["images"][0]["url"] == f"http://127.0.0.1:8000/images/{job['images'][0]['image_id']}.png"
    assert job["created_at"].endswith("Z")
    again = api.get(f"/v1/jobs/{job['track_id']}")
    # Only the place in the queue is left to the first look.
    assert again.json == job | {"queue_position": 1}
    assert again.headers["ETag"] == response.headers["ETag"]


def test_a_seed_that_is_not_given_is_drawn(api: Api) -> None:
    job = api.post("/v1/jobs", {"input": {"prompt": "x", "seed": None}}).json
    assert 0 <= job["seed"] < 2**32
    assert job["input"]["seed"] == job["seed"]


def test_the_installations_time_out_is_the_default(api: Api, parts: Parts) -> None:
    assert api.post("/v1/jobs", {"input": {"prompt": "x"}}).json["timeout_s"] == parts.settings.job_timeout_s


def test_the_same_request_with_the_same_key_makes_one_job(api: Api, parts: Parts) -> None:
    headers = {"Idempotency-Key": "order-42"}
    first = api.post("/v1/jobs", ASKED, headers=headers)
    shuffled = dict(reversed(ASKED.items()))
    again = api.post("/v1/jobs", shuffled, headers=headers)
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (again.status_code, again.headers["Location"]) == (202, first.headers["Location"])
    assert again.json == first.json | {"queue_position": 1}
    assert how_many(parts) == 1


def test_a_replay_shows_the_job_as_it_is_now(api: Api) -> None:
    headers = {"Idempotency-Key": "k"}
    track_id = api.post("/v1/jobs", ASKED, headers=headers).json["track_id"]
    succeed(api, track_id)
    again = api.post("/v1/jobs", ASKED, headers=headers)
    assert (again.status_code, again.json["status"]) == (202, "succeeded")


def test_the_same_key_with_another_body_is_a_mismatch(api: Api) -> None:
    headers = {"Idempotency-Key": "k"}
    api.post("/v1/jobs", ASKED, headers=headers)
    problem(api.post("/v1/jobs", ASKED | {"priority": 1}, headers=headers), 422, "idempotency_mismatch")


def test_keys_belong_to_a_client(api: Api, stranger: Api, parts: Parts) -> None:
    headers = {"Idempotency-Key": "k"}
    first = api.post("/v1/jobs", ASKED, headers=headers).json["track_id"]
    assert stranger.post("/v1/jobs", ASKED, headers=headers).json["track_id"] != first
    assert how_many(parts) == 2


def test_a_refused_request_does_not_use_up_its_key(api: Api) -> None:
    headers = {"Idempotency-Key": "k"}
    assert api.post("/v1/jobs", ASKED | {"priority": 1000}, headers=headers).status_code == 422
    assert api.post("/v1/jobs", ASKED, headers=headers).status_code == 202


def test_the_key_of_an_erased_job_is_gone(api: Api) -> None:
    headers = {"Idempotency-Key": "k"}
    track_id = api.post("/v1/jobs", ASKED, headers=headers).json["track_id"]
    api.change_job(track_id, erased_at=NOW)
    problem(api.post("/v1/jobs", ASKED, headers=headers), 410, "erased")


def test_an_idempotency_key_is_short_and_ascii(api: Api) -> None:
    for key in ("", "x" * 256, "clé", "a\tb"):
        problem(api.post("/v1/jobs", ASKED, headers={"Idempotency-Key": key}), 422, "invalid_field")


def test_many_at_once_with_one_key_make_one_job(api: Api, parts: Parts) -> None:
    def post(_: int) -> Any:
        other = Api(api.http.application.test_client(), parts, api.key)
        return other.post("/v1/jobs", ASKED, headers={"Idempotency-Key": "k"})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(post, range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json["track_id"] for answer in answers}) == 1
    assert how_many(parts) == 1


def test_a_full_queue_says_when_to_come_again(parts: Parts, api: Api) -> None:
    few = replace(parts, settings=parts.settings.model_copy(update={"max_queued": 1}))
    small = Api(create_app(few).test_client(), few, api.key)
    small.submit()
    response = small.post("/v1/jobs", ASKED)
    problem(response, 429, "rate_limited")
    assert response.headers["Retry-After"]


def test_when_the_wait_ends_first_the_answer_is_what_is_true(api: Api) -> None:
    response = api.post("/v1/jobs", ASKED, headers={"Prefer": "respond-async, wait=0"})
    assert (response.status_code, response.headers["Preference-Applied"]) == (202, "wait=0")


def test_a_preference_that_cannot_be_understood_is_ignored(api: Api) -> None:
    for prefer in ("wait=x", "wait", "waiting=5", "wait=-1", "handling=strict"):
        response = api.post("/v1/jobs", ASKED, headers={"Prefer": prefer})
        assert response.status_code == 202
        assert "Preference-Applied" not in response.headers


def test_a_job_that_ends_within_the_wait_is_answered_201_and_so_is_its_replay(api: Api, parts: Parts) -> None:
    headers = {"Idempotency-Key": "k", "Prefer": "wait=5"}
    waiting = api.http.application.extensions["waiting"]
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(api.post, "/v1/jobs", ASKED, headers=headers)
        track_id = None
        while track_id is None:
            with parts.store.reading() as connection:
                track_id = connection.scalar(select(Job.track_id)) if waiting.count else None
        succeed(api, track_id)
        api.http.application.extensions["wakeups"].notify([track_id])
        first = answer.result(30)
    assert (first.status_code, first.json["status"]) == (201, "succeeded")
    assert first.headers["Preference-Applied"] == "wait=5"
    assert "Retry-After" not in first.headers
    again = api.post("/v1/jobs", ASKED, headers=headers)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")


def test_a_job_that_is_committed_is_told_also_when_the_database_goes_away_in_its_wait(api: Api, parts: Parts) -> None:
    engine = parts.store.engine

    def away(*_: object) -> None:
        raise OperationalError("SELECT", {}, Exception("gone"))

    def go_away(_: object) -> None:
        event.listen(engine, "before_cursor_execute", away)

    with parts.store.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(Job)) == 0
    assert api.get("/v1/jobs").status_code == 200  # The key is known from now on.
    event.listen(engine, "commit", go_away, once=True)
    try:
        response = api.post("/v1/jobs", ASKED, headers={"Prefer": "wait=5"})
    finally:
        event.remove(engine, "before_cursor_execute", away)
    assert (response.status_code, response.json["status"]) == (202, "queued")
    assert response.headers["Location"].endswith(response.json["track_id"])
    assert api.get(f"/v1/jobs/{response.json['track_id']}").status_code == 200


def test_the_wait_may_be_a_parameter_and_it_counts_before_the_header(api: Api) -> None:
    response = api.post("/v1/jobs?wait=1", ASKED, headers={"Prefer": "wait=30"})
    assert (response.status_code, response.headers["Preference-Applied"]) == (202, "wait=1")
    refused = api.post("/v1/jobs?wait=-1", ASKED)
    assert (refused.status_code, refused.json["errors"][0]["pointer"]) == (422, "/wait")


def test_with_too_many_waiters_a_submit_is_answered_at_once(parts: Parts, api: Api) -> None:
    few = replace(parts, settings=parts.settings.model_copy(update={"max_waiters": 0}))
    busy = Api(create_app(few).test_client(), few, api.key)
    response = busy.post("/v1/jobs", ASKED, headers={"Prefer": "wait=5"})
    assert response.status_code == 202
    assert "Preference-Applied" not in response.headers
