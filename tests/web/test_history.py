"""A job's events, attempts and callbacks, by pages."""

from datetime import timedelta
from typing import Any

import pytest

from tests.web.conftest import NOW, Api
from tests.web.test_problems import problem
from webhook_app.domain.ids import new_id
from webhook_app.flows.seal import seal
from webhook_app.store.tables import Attempt, Callback, EventRow
from webhook_app.web.answers import AttemptList, CallbackList, EventList


def add_callback(api: Api, track_id: str, n: int, body: bytes | None) -> None:
    seen = {"received_at": NOW + timedelta(seconds=n // 2), "last_seen_at": NOW, "applied_at": NOW}
    row = {
        "callback_id": new_id("cb"),
        "provider": "modelslab",
        "track_id": track_id,
        "attempt": 1,
        "sha256": f"{n:064}",
    }
    said = {"content_type": "application/json", "headers": {"user-agent": "x"}, "verdict": "applied"}
    api.add(Callback, **row, body=body, **said, **seen)


def pages(api: Api, path: str) -> list[list[dict[str, Any]]]:
    found, cursor = [], ""
    while True:
        page = api.get(f"{path}?limit=2{cursor}").json
        found.append(page["data"])
        if not page["has_more"]:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def test_events_are_shown_at_once_and_get_their_number_from_the_sealer(api: Api) -> None:
    track_id = api.submit()
    path = f"/v1/jobs/{track_id}/events"
    event = api.get(path).json["data"][0]
    EventList.model_validate(api.get(path).json)
    assert (event["type"], event["seq"], event["track_id"]) == ("job.queued", None, track_id)
    assert event["actor"].startswith("key:key_")
    assert seal(api.parts.store) == 1
    assert api.get(path).json["data"] == [event | {"seq": 1}]


def test_histories_come_in_pages_oldest_first(api: Api, admin: Api) -> None:
    track_id = api.submit()
    for n in range(1, 6):
        common = {"track_id": track_id, "data": {"n": n}, "actor": "worker", "created_at": NOW}
        api.add(EventRow, event_id=new_id("evt"), type="submit.retried", **common)
        api.add(Attempt, track_id=track_id, n=n, sent_at=NOW, evidence="retryable")
        add_callback(api, track_id, n, b"{}")
    events = pages(api, f"/v1/jobs/{track_id}/events")
    assert [[event["data"].get("n") for event in page] for page in events] == [[None, 1], [2, 3], [4, 5]]
    attempts = pages(api, f"/v1/jobs/{track_id}/attempts")
    assert [[attempt["attempt"] for attempt in page] for page in attempts] == [[1, 2], [3, 4], [5]]
    callbacks = pages(admin, f"/v1/jobs/{track_id}/callbacks")
    assert [len(page) for page in callbacks] == [2, 2, 1]
    assert {int(callback["sha256"]) for page in callbacks for callback in page} == {1, 2, 3, 4, 5}


def test_a_cursor_of_one_history_does_not_open_another(api: Api) -> None:
    track_id = api.submit()
    for n in (1, 2):
        api.add(Attempt, track_id=track_id, n=n, sent_at=NOW, evidence="none")
    cursor = api.get(f"/v1/jobs/{track_id}/attempts?limit=1").json["next_cursor"]
    problem(api.get(f"/v1/jobs/{track_id}/events?cursor={cursor}"), 422, "invalid_field")


def test_attempts_are_shown_as_documented(api: Api) -> None:
    track_id = api.submit()
    error = {"code": "generation_failed", "message": "m", "retryable": True, "provider_message": "Try Again"}
    api.add(Attempt, track_id=track_id, n=1, sent_at=NOW, evidence="retryable", error=error, polls=2)
    body = api.get(f"/v1/jobs/{track_id}/attempts").json
    AttemptList.model_validate(body)
    assert (body["data"][0]["attempt"], body["data"][0]["error"], body["data"][0]["sent_at"]) == (
        1,
        error,
        "2026-11-01T12:00:00Z",
    )


@pytest.mark.parametrize(
    ("body", "shown", "encoding"),
    [
        (b'{"status":"success"}', '{"status":"success"}', "utf-8"),
        (b"\xff\x00", "/wA=", "base64"),
        (b"", "", "utf-8"),
        (None, None, None),
    ],
)
def test_callbacks_are_shown_raw_to_admins_alone(
    api: Api, admin: Api, body: bytes | None, shown: str | None, encoding: str | None
) -> None:
    track_id = api.submit()
    add_callback(api, track_id, 1, body)
    path = f"/v1/jobs/{track_id}/callbacks"
    problem(api.get(path), 403, "insufficient_scope")
    answer = admin.get(path).json
    CallbackList.model_validate(answer)
    callback = answer["data"][0]
    assert (callback["body"], callback["body_encoding"], callback["verdict"]) == (shown, encoding, "applied")
