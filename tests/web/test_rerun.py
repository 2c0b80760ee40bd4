"""Running a job again over HTTP: what is inherited, which seed, what is overridden, and what is refused."""

from typing import Any

import pytest

from tests.web.conftest import NOW, Api
from tests.web.test_problems import problem
from webhook_app.domain.ids import new_track_id
from webhook_app.web.answers import JobAnswer

ASKED: dict[str, Any] = {
    "input": {"negative_prompt": "fog", "width": 768, "seed": 7},
    "reference": "order-42",
    "webhook": "https://client.example/hooks",
    "webhook_events": ["job.succeeded"],
    "metadata": {"campaign": "spring"},
    "tags": ["spring"],
    "priority": 5,
    "timeout_s": 60,
}


def path(track_id: str) -> str:
    return f"/v1/jobs/{track_id}/rerun"


def test_a_rerun_has_all_that_the_job_had_and_names_it(api: Api) -> None:
    first = api.get(f"/v1/jobs/{api.submit(**ASKED)}").json
    api.change_job(first["track_id"], status="failed", completed_at=NOW, seed=8)
    answer = api.call("POST", path(first["track_id"]))
    assert answer.status_code == 202
    JobAnswer.model_validate(answer.json)
    assert answer.headers["Location"].endswith(answer.json["track_id"])
    again = answer.json
    assert again["track_id"] != first["track_id"]
    assert (again["parent_track_id"], again["status"], again["batch_id"]) == (first["track_id"], "queued", None)
    for name in ("model", "reference", "webhook", "webhook_events", "metadata", "tags", "priority", "timeout_s"):
        assert again[name] == first[name], name
    assert again["input"] == first["input"] | {"seed": 8}, "the seed is the one that the provider used"
    assert again["seed"] == 8


@pytest.mark.parametrize(("seed", "found"), [("same", 7), (9, 9), ("10", 10), (2**32 - 1, 2**32 - 1)])
def test_the_seed_is_the_same_or_a_number(api: Api, seed: object, found: int) -> None:
    track_id = api.submit(**ASKED)
    assert api.post(path(track_id), {"seed": seed}).json["seed"] == found


def test_a_new_seed_is_drawn_and_a_strange_one_is_not_repeated(api: Api) -> None:
    track_id = api.submit(**ASKED)
    assert len({api.post(path(track_id), {"seed": "new"}).json["seed"] for _ in range(3)}) == 3
    api.change_job(track_id, seed=2**60)
    assert api.post(path(track_id), {}).json["seed"] == 7


def test_overrides_replace_members_of_the_input(api: Api) -> None:
    track_id = api.submit(**ASKED)
    overrides = {"prompt": "another", "negative_prompt": None, "samples": "2"}
    again = api.post(path(track_id), {"input": overrides}).json
    assert again["input"] == {"prompt": "another", "width": 768, "seed": 7, "samples": 2}
    assert len(again["images"]) == 2


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({"input": {"width": 7}}, "invalid_field", "/input/width"),
        ({"input": {"colour": "red"}}, "unknown_field", "/input/colour"),
        ({"input": {"seed": 1}}, "invalid_field", "/input/seed"),
        ({"input": {"prompt": None}}, "invalid_field", "/input/prompt"),
        ({"input": []}, "invalid_field", "/input"),
        ({"seed": "other"}, "invalid_field", "/seed"),
        ({"seed": -1}, "invalid_field", "/seed"),
        ({"seed": 2**32}, "invalid_field", "/seed"),
        ({"seed": True}, "invalid_field", "/seed"),
        ({"seed": None}, "invalid_field", "/seed"),
        ({"seed": {"a": 1}}, "invalid_field", "/seed"),
        ({"model": "flux/img2img"}, "unknown_field", "/model"),
    ],
)
def test_what_is_wrong_is_pointed_at(api: Api, body: dict[str, Any], code: str, pointer: str) -> None:
    track_id = api.submit(**ASKED)
    refused = problem(api.post(path(track_id), body), 422, code)
    assert [fault["pointer"] for fault in refused["errors"]] == [pointer]
    assert len(api.get("/v1/jobs").json["data"]) == 1


def test_the_same_key_makes_one_rerun(api: Api) -> None:
    first, other = api.submit(**ASKED), api.submit(**ASKED)
    key = {"Idempotency-Key": "again"}
    made = api.post(path(first), {"seed": "new"}, headers=key)
    again = api.post(path(first), {"seed": "new"}, headers=key)
    assert (again.json["track_id"], again.headers["Idempotent-Replayed"]) == (made.json["track_id"], "true")
    problem(api.post(path(first), {"seed": "same"}, headers=key), 422, "idempotency_mismatch")
    problem(api.post(path(other), {"seed": "new"}, headers=key), 422, "idempotency_mismatch")


def test_a_rerun_may_wait(api: Api) -> None:
    answer = api.post(path(api.submit()), {}, headers={"Prefer": "wait=0"})
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (202, "wait=0")


def test_an_erased_or_foreign_job_is_not_run_again(api: Api, stranger: Api, admin: Api) -> None:
    track_id = api.submit()
    problem(stranger.post(path(track_id), {}), 404, "not_found")
    problem(api.post(path(new_track_id()), {}), 404, "not_found")
    by_admin = admin.post(path(track_id), {}).json
    assert api.get(f"/v1/jobs/{by_admin['track_id']}").status_code == 200, "it is the same client's"
    assert api.delete(f"/v1/jobs/{track_id}").status_code == 202
    problem(api.post(path(track_id), {}), 410, "erased")
