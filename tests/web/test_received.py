"""Everything received, over HTTP: lists and filters, the raw body, and replays."""

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from tests.web.conftest import NOW, Api
from tests.web.test_history import pages
from tests.web.test_problems import problem
from webhook_app.domain.ids import new_id, new_track_id
from webhook_app.store.tables import Attempt, Callback
from webhook_app.web.answers import CallbackAnswer, ReceivedList, ReplayAnswer

RESULT = {"status": "success", "id": 7, "output": ["https://pub-3626123a908346a7a8be8d9295f44e26.r2.dev/0.png"]}


def keep(api: Api, n: int = 0, **more: Any) -> str:
    """A callback on record, received `n` seconds after the first; returns its id."""
    seen = {"received_at": NOW + timedelta(seconds=n), "last_seen_at": NOW, "applied_at": NOW}
    row = {
        "callback_id": new_id("cb"),
        "provider": "modelslab",
        "track_id": new_track_id(),
        "attempt": 1,
        "sha256": f"{n:064}",
        "body": b"{}",
        "content_type": "application/json",
        "headers": {"user-agent": "x"},
        "verdict": "applied",
    }
    api.add(Callback, **(row | seen | more))
    return str((row | more)["callback_id"])


def sent(api: Api) -> str:
    track_id = api.submit()
    api.change_job(track_id, status="processing", attempt=1, spent=1, submitted_at=NOW)
    api.add(Attempt, track_id=track_id, n=1, sent_at=NOW, evidence="running", provider_job_id="7")
    return track_id


def test_everything_is_listed_newest_first_by_pages_without_bodies(admin: Api) -> None:
    kept = [keep(admin, n // 2) for n in range(5)]
    found = pages(admin, "/v1/callbacks")
    assert [len(page) for page in found] == [2, 2, 1]
    listed = [callback for page in found for callback in page]
    assert {callback["callback_id"] for callback in listed} == set(kept)
    assert [callback["sha256"][-1] for callback in listed] == ["2", "1", "1", "0", "0"]
    ReceivedList.model_validate(admin.get("/v1/callbacks").json)
    assert not {"body", "headers"} & listed[0].keys()


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ("verdict=orphaned", "1"),
        ("verdict=orphaned&verdict=late", "21"),
        ("verdict=unreadable", ""),
        ("orphaned=true", "1"),
        ("orphaned=false", "320"),
        ("orphaned=true&verdict=late", ""),
        ("provider=modelslab", "3210"),
        ("provider=other", ""),
        ("received_after=" + quote((NOW + timedelta(seconds=2)).isoformat()), "32"),
        ("received_before=2026-11-01T12:00:02Z", "10"),
    ],
)
def test_each_filter_alone(admin: Api, filters: str, found: str) -> None:
    for n, verdict in enumerate(("applied", "orphaned", "late", None)):
        keep(admin, n, verdict=verdict)
    listed = admin.get(f"/v1/callbacks?{filters}").json["data"]
    assert "".join(callback["sha256"][-1] for callback in listed) == found


def test_the_callbacks_of_one_job_are_found(admin: Api) -> None:
    track_id = new_track_id()
    mine = keep(admin, track_id=track_id)
    keep(admin)
    assert [row["callback_id"] for row in admin.get(f"/v1/callbacks?track_id={track_id}").json["data"]] == [mine]


@pytest.mark.parametrize("name", ["track_id", "verdict", "received_after", "orphaned", "cursor", "limit"])
def test_a_filter_that_cannot_be_read_is_named(admin: Api, name: str) -> None:
    body = problem(admin.get(f"/v1/callbacks?{name}=nonsense"), 422, "invalid_field")
    assert body["errors"][0]["pointer"].startswith(f"/{name}")


def test_a_callback_is_shown_raw(admin: Api) -> None:
    answer = admin.get(f"/v1/callbacks/{keep(admin, body=orjson.dumps(RESULT))}").json
    CallbackAnswer.model_validate(answer)
    assert (orjson.loads(answer["body"]), answer["body_encoding"]) == (RESULT, "utf-8")
    assert answer["headers"] == {"user-agent": "x"}
    answer = admin.get(f"/v1/callbacks/{keep(admin, 1, body=bytes([255, 0]))}").json
    assert (answer["body"], answer["body_encoding"]) == ("/wA=", "base64")


def test_a_dry_run_says_what_a_replay_then_does(api: Api, admin: Api) -> None:
    track_id = sent(api)
    body = orjson.dumps(RESULT | {"track_id": track_id})
    path = f"/v1/callbacks/{keep(api, track_id=track_id, body=body, verdict='unreadable', problem='no')}/replay"
    tried = admin.post(f"{path}?dry_run=true")
    assert tried.status_code == 200
    ReplayAnswer.model_validate(tried.json)
    assert api.get(f"/v1/jobs/{track_id}").json["status"] == "processing"
    done = admin.post(path)
    assert done.json == tried.json | {"dry_run": False}
    assert done.json["job"]["status"] == {"before": "processing", "after": "succeeded"}
    assert done.json["events"] == {"callback.received": 1, "job.succeeded": 1}
    assert [image["index"] for image in done.json["images"]] == [0]
    assert api.get(f"/v1/jobs/{track_id}").json["status"] == "succeeded"
    told = api.get(f"/v1/jobs/{track_id}/events").json["data"]
    assert [event["actor"].partition("_")[0] for event in told] == ["key:key", "key:key", "provider"]
    assert admin.post(path).json["changed"] is False


def test_what_is_erased_or_unknown_cannot_be_replayed(admin: Api) -> None:
    problem(admin.post(f"/v1/callbacks/{keep(admin, body=None)}/replay"), 410, "erased")
    for name in (new_id("cb"), "cb_nothing", "cb_%00"):
        problem(admin.get(f"/v1/callbacks/{name}"), 404, "not_found")
        problem(admin.post(f"/v1/callbacks/{name}/replay"), 404, "not_found")
    problem(admin.post(f"/v1/callbacks/{keep(admin, 1)}/replay?dry_run=perhaps"), 422, "invalid_field")


def test_callbacks_are_for_admins(api: Api) -> None:
    callback_id = keep(api)
    for response in (
        api.get("/v1/callbacks"),
        api.get(f"/v1/callbacks/{callback_id}"),
        api.post(f"/v1/callbacks/{callback_id}/replay"),
    ):
        problem(response, 403, "insufficient_scope")
