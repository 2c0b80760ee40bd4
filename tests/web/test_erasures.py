"""Erasing over HTTP: one job, many by a filter, and how far it is."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.web.conftest import Api, key_for
from tests.web.test_problems import problem
from webhook_app.domain.ids import new_id, new_track_id
from webhook_app.domain.job import Scope
from webhook_app.flows.forget import forget_due
from webhook_app.web.answers import ErasingAnswer, ErasureAnswer


def forget(api: Api) -> None:
    """The worker's part."""
    parts = api.parts
    while forget_due(
        parts.store,
        parts.providers,
        storage=parts.storage,
        kept=parts.spool,
        limit=20,
        clock=lambda: datetime.now(UTC),
    ):
        pass


def test_a_job_is_erased_and_gone_everywhere(api: Api, admin: Api) -> None:
    track_id = api.submit(reference="order-42")
    image_id = api.get(f"/v1/jobs/{track_id}").json["images"][0]["image_id"]
    answer = api.delete(f"/v1/jobs/{track_id}")
    assert answer.status_code == 202
    ErasureAnswer.model_validate(answer.json)
    told = (answer.json["status"], answer.json["track_id"], answer.json["completed_at"], answer.json["provider_copy"])
    assert told == ("pending", track_id, None, None)
    assert answer.json["requested_by"].startswith("key:key_")
    for path in (f"/v1/jobs/{track_id}{end}" for end in ("", "/events", "/attempts")):
        problem(api.get(path), 410, "erased")
    problem(admin.get(f"/v1/jobs/{track_id}/callbacks"), 410, "erased")
    problem(api.post(f"/v1/jobs/{track_id}/cancel"), 410, "erased")
    problem(api.get(f"/v1/images/{image_id}"), 410, "erased")
    problem(api.get(f"/images/{image_id}.png"), 410, "erased")
    assert api.get("/v1/jobs").json["data"] == api.get("/v1/jobs?reference=order-42").json["data"] == []
    forget(api)
    again = admin.delete(f"/v1/jobs/{track_id}")
    assert (again.status_code, again.json["erasure_id"]) == (202, answer.json["erasure_id"])
    assert (again.json["status"], again.json["erased"], again.json["provider_copy"]) == ("done", 1, "none")
    where = answer.headers["Location"].removeprefix(api.parts.settings.public_url)
    assert api.get(where).json == again.json


def test_an_idempotency_key_of_an_erased_job_is_answered_410(api: Api) -> None:
    asked: Any = {"input": {"prompt": "a horse"}}
    headers = {"Idempotency-Key": "order-42"}
    track_id = api.post("/v1/jobs", asked, headers=headers).json["track_id"]
    api.delete(f"/v1/jobs/{track_id}")
    problem(api.post("/v1/jobs", asked, headers=headers), 410, "erased")
    forget(api)
    problem(api.post("/v1/jobs", asked, headers=headers), 410, "erased")


def test_another_client_s_jobs_and_erasures_are_not_there(api: Api, stranger: Api) -> None:
    track_id = api.submit()
    problem(stranger.delete(f"/v1/jobs/{track_id}"), 404, "not_found")
    for nobody in (new_track_id(), "nothing"):
        problem(api.delete(f"/v1/jobs/{nobody}"), 404, "not_found")
    erasure_id = api.delete(f"/v1/jobs/{track_id}").json["erasure_id"]
    problem(stranger.get(f"/v1/erasures/{erasure_id}"), 404, "not_found")
    problem(api.get(f"/v1/erasures/{new_id('ers')}"), 404, "not_found")


def test_erasing_wants_the_scope_of_submitting(api: Api) -> None:
    reader = Api(api.http, api.parts, key_for(api.parts, "acme", Scope.READ))
    problem(reader.delete(f"/v1/jobs/{api.submit()}"), 403, "insufficient_scope")
    problem(reader.post("/v1/erasures", {"filter": {"tag": "t"}}), 403, "insufficient_scope")


def test_many_are_counted_and_erased(api: Api, stranger: Api, admin: Api) -> None:
    found = [api.submit(tags=["spring"], metadata={"n": n}) for n in (1, 2)]
    api.submit(tags=["autumn"])
    stranger.submit(tags=["spring"])
    counted = api.post("/v1/erasures", {"filter": {"tag": "spring"}, "dry_run": True})
    assert (counted.status_code, counted.json) == (202, {"erasure_id": None, "matched": 2, "dry_run": True})
    everyone = {"filter": {"tag": "spring"}, "dry_run": True}
    assert admin.post("/v1/erasures", everyone).json["matched"] == 3
    assert api.post("/v1/erasures", {"filter": {"metadata": {"n": 1}}, "dry_run": True}).json["matched"] == 1
    before = {"filter": {"created_before": "2020-01-01T00:00:00Z"}, "dry_run": True}
    assert api.post("/v1/erasures", before).json["matched"] == 0
    asked = api.post("/v1/erasures", {"filter": {"tag": "spring"}})
    ErasingAnswer.model_validate(asked.json)
    forget(api)
    forget(api)
    shown = api.get(f"/v1/erasures/{asked.json['erasure_id']}").json
    assert (shown["matched"], shown["erased"], shown["track_id"]) == (2, 2, None)
    for track_id in found:
        problem(api.get(f"/v1/jobs/{track_id}"), 410, "erased")
    assert [len(each.get("/v1/jobs").json["data"]) for each in (api, stranger)] == [1, 1]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/filter"),
        ({"filter": {}}, "/filter"),
        ({"filter": {"reference": None}}, "/filter"),
        ({"filter": {"reference": ""}}, "/filter/reference"),
        ({"filter": {"metadata": {}}}, "/filter/metadata"),
        ({"filter": {"metadata": {'a"': "b"}}}, "/filter/metadata"),
        ({"filter": {"created_before": "yesterday"}}, "/filter/created_before"),
        ({"filter": {"tag": "t"}, "dry_run": "yes"}, "/dry_run"),
    ],
)
def test_a_filter_must_say_something(api: Api, body: Any, pointer: str) -> None:
    refused = problem(api.post("/v1/erasures", body), 422, "invalid_field")
    assert refused["errors"][0]["pointer"] == pointer


def test_only_an_admin_erases_for_another_client(api: Api, stranger: Api, admin: Api) -> None:
    track_id = stranger.submit()
    client_id = stranger.get(f"/v1/jobs/{track_id}").json["client_id"]
    body = {"filter": {"client_id": client_id}, "dry_run": True}
    problem(api.post("/v1/erasures", body), 403, "insufficient_scope")
    assert admin.post("/v1/erasures", body).json["matched"] == stranger.post("/v1/erasures", body).json["matched"] == 1
