"""Batches over HTTP: JSON and NDJSON, all or none, waiting for all, and other people's batches."""

import json
import threading
import time
from typing import Any

import pytest
from sqlalchemy import select

from tests.web.conftest import NOW, Api
from tests.web.doors import drip
from tests.web.test_problems import problem
from webhook_app.domain.ids import new_id
from webhook_app.flows import cancel
from webhook_app.store.tables import Batch, Job
from webhook_app.web.answers import BatchAnswer, BatchList, NewBatchAnswer
from webhook_app.web.api.batches import LARGEST_BODY, NDJSON


def jobs(count: int = 3) -> list[dict[str, Any]]:
    return [{"input": {"prompt": f"picture {n}"}, "reference": f"r-{n}"} for n in range(count)]


def made(api: Api, asked: list[dict[str, Any]] | None = None, **arguments: Any) -> dict[str, Any]:
    answer = api.post("/v1/batches", {"jobs": jobs() if asked is None else asked}, **arguments)
    assert answer.status_code == 202, answer.text
    NewBatchAnswer.model_validate(answer.json)
    found: dict[str, Any] = answer.json
    return found


def lines(*asked: object) -> bytes:
    return "\n".join(each if isinstance(each, str) else json.dumps(each) for each in asked).encode()


def ndjson(api: Api, body: bytes, **headers: str) -> Any:
    return api.call("POST", "/v1/batches", data=body, content_type=NDJSON, headers=headers)


def faults(body: dict[str, Any]) -> list[str]:
    return [fault["pointer"] for fault in body["errors"]]


def path(batch: dict[str, Any]) -> str:
    return f"/v1/batches/{batch['batch_id']}"


def end(api: Api, track_id: str) -> None:
    cancel.cancel(api.parts.store, track_id, by="key:k", now=NOW)


def test_a_batch_is_taken_in_and_shown(api: Api) -> None:
    answer = api.post("/v1/batches", {"jobs": jobs()})
    assert (answer.status_code, set(answer.json)) == (202, {"batch_id", "track_ids"})
    assert answer.headers["Location"].endswith(path(answer.json))
    assert answer.headers["Retry-After"]
    for n, track_id in enumerate(answer.json["track_ids"]):
        job = api.get(f"/v1/jobs/{track_id}").json
        assert (job["reference"], job["batch_id"]) == (f"r-{n}", answer.json["batch_id"])
    shown = api.get(path(answer.json))
    BatchAnswer.model_validate(shown.json)
    none = dict.fromkeys(("submitting", "processing", "succeeded", "failed", "canceled", "timed_out"), 0)
    assert (shown.json["jobs"], shown.json["counts"]) == (3, {"queued": 3} | none)
    assert (shown.json["completed_at"], shown.json["archiving"]) == (None, 0)
    assert api.get(f"/v1/jobs?batch_id={answer.json['batch_id']}&limit=2").json["has_more"]


def test_each_line_of_ndjson_is_a_job(api: Api) -> None:
    body = lines(*jobs(2), "", jobs(1)[0]) + b"\r\n"
    answer = ndjson(api, body)
    assert (answer.status_code, len(answer.json["track_ids"])) == (202, 3)
    problem(ndjson(api, b"\n\n"), 422, "invalid_field")
    body = problem(ndjson(api, lines(jobs(1)[0], "", '{"input": ')), 400, "malformed_json")
    assert body["detail"].startswith("Line 3: ")
    text = problem(ndjson(api, lines(jobs(1)[0], '{"input": {"prompt": "\\u0000"}}')), 422, "invalid_field")
    assert faults(text) == ["/jobs/1/input/prompt"]


def test_one_wrong_job_refuses_all_and_is_pointed_at(api: Api) -> None:
    asked = jobs(18)
    asked[17]["input"]["width"] = 7
    asked[3] = {"input": {}}
    asked[5]["model"] = "flux/none"
    asked[6] = "text"  # type: ignore[call-overload] # what a client might send
    body = problem(api.post("/v1/batches", {"jobs": asked}), 422, "invalid_field")
    assert faults(body) == ["/jobs/3/input/prompt", "/jobs/5/model", "/jobs/6", "/jobs/17/input/width"]
    with api.parts.store.reading() as connection:
        assert connection.execute(select(Job.number)).all() == connection.execute(select(Batch.jobs)).all() == []
    unknown = jobs(2)
    unknown[1]["colour"] = "red"
    assert faults(problem(api.post("/v1/batches", {"jobs": unknown}), 422, "unknown_field")) == ["/jobs/1/colour"]
    assert faults(problem(api.post("/v1/batches", {"jobs": jobs(), "n": 1}), 422, "unknown_field")) == ["/n"]
    many = problem(api.post("/v1/batches", {"jobs": [{}] * 1000}), 422, "invalid_field")
    assert 200 <= len(many["errors"]) < 210


@pytest.mark.parametrize("asked", [[], jobs(1001), None, {"0": jobs(1)[0]}])
def test_a_batch_has_from_one_to_a_thousand_jobs(api: Api, asked: object) -> None:
    assert faults(problem(api.post("/v1/batches", {"jobs": asked}), 422, "invalid_field")) == ["/jobs"]


def test_a_thousand_jobs_are_one_batch(api: Api) -> None:
    batch = made(api, jobs(1000))
    assert len(batch["track_ids"]) == 1000
    assert api.get(path(batch)).json["counts"]["queued"] == 1000


def test_a_body_may_have_16_mib_and_no_more(api: Api) -> None:
    prompt = "x" * 9_900
    many = jobs(1000)
    for job in many:
        job["input"]["prompt"] = prompt
    assert len(json.dumps(many)) > 9 << 20
    assert len(made(api, many)["track_ids"]) == 1000
    problem(ndjson(api, b"\n" * (LARGEST_BODY + 1)), 413, "too_large")
    drops = drip(b" " * (LARGEST_BODY + 1))
    chunked = {"wsgi.input": drops, "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    problem(api.call("POST", "/v1/batches", content_type=NDJSON, environ_overrides=chunked), 413, "too_large")
    problem(api.call("POST", "/v1/batches", data=b"a=1", content_type="text/csv"), 415, "unsupported_media_type")


def test_the_same_key_answers_with_the_same_batch_in_either_form(api: Api, stranger: Api) -> None:
    key = {"Idempotency-Key": "campaign"}
    first = api.post("/v1/batches", {"jobs": jobs()}, headers=key)
    again = ndjson(api, lines(*jobs()), **key)
    assert (again.status_code, again.json) == (202, first.json)
    assert again.headers["Location"] == first.headers["Location"]
    assert (first.headers.get("Idempotent-Replayed"), again.headers["Idempotent-Replayed"]) == (None, "true")
    problem(api.post("/v1/batches", {"jobs": jobs(2)}, headers=key), 422, "idempotency_mismatch")
    problem(api.post("/v1/jobs", jobs(1)[0], headers=key), 422, "idempotency_mismatch")
    assert made(stranger, headers=key)["batch_id"] != first.json["batch_id"]
    for track_id in first.json["track_ids"]:
        assert api.delete(f"/v1/jobs/{track_id}").status_code == 202
    problem(ndjson(api, lines(*jobs()), **key), 410, "erased")


def test_another_client_s_batch_is_not_there(api: Api, stranger: Api, admin: Api) -> None:
    batch = made(api)
    problem(stranger.get(path(batch)), 404, "not_found")
    problem(stranger.get(f"{path(batch)}?wait=5"), 404, "not_found")
    problem(stranger.post(f"{path(batch)}/cancel"), 404, "not_found")
    problem(api.get(f"/v1/batches/{new_id('bat')}"), 404, "not_found")
    problem(api.get("/v1/batches/bat_x"), 404, "not_found")
    assert stranger.get("/v1/batches").json["data"] == []
    assert admin.get(path(batch)).json == api.get(path(batch)).json
    assert [each["batch_id"] for each in admin.get("/v1/batches").json["data"]] == [batch["batch_id"]]


def test_batches_are_listed_by_pages(api: Api) -> None:
    ids = [made(api, jobs(n))["batch_id"] for n in (1, 2, 3)]
    first = api.get("/v1/batches?limit=2")
    BatchList.model_validate(first.json)
    rest = api.get(f"/v1/batches?limit=2&cursor={first.json['next_cursor']}").json
    assert [each["batch_id"] for each in first.json["data"] + rest["data"]] == ids[::-1]
    assert [each["counts"]["queued"] for each in first.json["data"]] == [3, 2]
    assert (rest["has_more"], 'rel="next"' in first.headers["Link"]) == (False, True)


def test_a_batch_is_canceled_and_again_the_answer_is_the_same(api: Api) -> None:
    batch = made(api)
    answer = api.post(f"{path(batch)}/cancel")
    assert (answer.status_code, answer.json["counts"]["canceled"]) == (200, 3)
    assert answer.json["completed_at"]
    assert api.post(f"{path(batch)}/cancel").json == answer.json
    assert {api.get(f"/v1/jobs/{track_id}").json["status"] for track_id in batch["track_ids"]} == {"canceled"}


def test_the_etag_changes_with_the_batch(api: Api) -> None:
    batch = made(api)
    etag = api.get(path(batch)).headers["ETag"]
    assert api.get(path(batch), headers={"If-None-Match": etag}).status_code == 304
    end(api, batch["track_ids"][0])
    assert api.get(path(batch), headers={"If-None-Match": etag}).status_code == 200


def test_a_wait_ends_with_the_last_job(api: Api) -> None:
    batch = made(api, jobs(2))
    first, last = batch["track_ids"]
    end(api, first)
    waits = threading.Thread(target=end, args=(api, last))
    began = time.monotonic()
    threading.Timer(0.5, waits.start).start()
    answer = api.get(f"{path(batch)}?wait=5")
    assert time.monotonic() - began < 4
    waits.join()
    assert (answer.json["counts"]["canceled"], answer.headers["Preference-Applied"]) == (2, "wait=5")


def test_a_wait_for_the_archive_ends_with_the_last_copy(api: Api) -> None:
    batch = made(api, jobs(1))
    (track_id,) = batch["track_ids"]
    end(api, track_id)
    api.change_job(track_id, status="succeeded", archive_status="pending")
    answer = api.get(f"{path(batch)}?wait=1&until=archived")
    assert answer.json["archiving"] == 1
    assert api.get(path(batch), headers={"Prefer": "wait=3"}).headers["Preference-Applied"] == "wait=3"
    api.change_job(track_id, archive_status="partial")
    assert api.get(f"{path(batch)}?wait=5&until=archived").json["archiving"] == 0
