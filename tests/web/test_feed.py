"""`GET /v1/events`: the sealed log, in order, without gaps, to each client its own."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask

from tests.web.conftest import BOOTSTRAP_KEY, Api, key_for
from webhook_app.domain.job import Scope
from webhook_app.flows.seal import seal
from webhook_app.web import feed as feeds
from webhook_app.web.feed import Feed, Wanted
from webhook_app.wiring import Parts

PATIENCE_S = 20.0


def submitted(api: Api, count: int = 1) -> list[str]:
    """Jobs, and the sealed events that tell of them."""
    track_ids = [api.submit() for _ in range(count)]
    seal(api.parts.store)
    return track_ids


def pages(api: Api, **asked: object) -> Iterator[dict[str, object]]:
    after = 0
    while True:
        answer = api.get("/v1/events", query_string=asked | {"after": after}).json
        yield answer
        after = answer["next_after"]
        if not answer["has_more"]:
            return


def test_the_feed_is_the_log_in_order_and_no_unsealed_event_is_in_it(api: Api) -> None:
    track_ids = submitted(api, 3)
    api.submit()
    answer = api.get("/v1/events").json
    assert [(event["seq"], event["track_id"]) for event in answer["data"]] == list(enumerate(track_ids, start=1))
    assert (answer["next_after"], answer["has_more"]) == (3, False)
    assert answer["log_id"].startswith("log_")
    assert answer["data"][0] == api.get(f"/v1/jobs/{track_ids[0]}/events").json["data"][0]


def test_pages_follow_each_other_without_a_gap(api: Api) -> None:
    submitted(api, 7)
    found = list(pages(api, limit=3))
    assert [[event["seq"] for event in page["data"]] for page in found] == [[1, 2, 3], [4, 5, 6], [7]]


def test_a_client_sees_its_own_events_and_an_admin_all(api: Api, stranger: Api, admin: Api) -> None:
    for who in (api, stranger, stranger, api):
        submitted(who)
    assert [event["seq"] for event in api.get("/v1/events").json["data"]] == [1, 4]
    theirs = stranger.get("/v1/events").json
    assert [event["seq"] for event in theirs["data"]] == [2, 3]
    assert theirs["next_after"] == 4  # What was looked at, though it is somebody else's.
    assert [event["seq"] for event in admin.get("/v1/events").json["data"]] == [1, 2, 3, 4]


def test_a_job_of_somebody_else_is_not_there_to_be_followed(api: Api, stranger: Api) -> None:
    (track_id,) = submitted(api)
    for path in ("/v1/events", "/v1/events/stream"):
        for unknown in (track_id, "0192f3c4-5d6e-7f80-9a1b-2c3d4e5f6071", "x"):
            answer = stranger.get(path, query_string={"track_id": unknown})
            assert (answer.status_code, answer.json["code"]) == (404, "not_found")


def test_one_job_and_some_types_are_filtered(api: Api) -> None:
    first, second = submitted(api, 2)
    api.post(f"/v1/jobs/{second}/cancel")
    seal(api.parts.store)
    assert [event["seq"] for event in api.get(f"/v1/events?track_id={second}").json["data"]] == [2, 3]
    asked = "/v1/events?type=job.canceled&type=job.failed"
    answer = api.get(asked).json
    assert [event["type"] for event in answer["data"]] == ["job.canceled"]
    assert answer["next_after"] == 3
    assert api.get(f"/v1/events?type=job.canceled&track_id={first}").json == answer | {"data": []}


def test_looking_for_rare_types_comes_to_an_end_and_says_so(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "LOOKS_THROUGH", 3)
    submitted(api, 7)
    found = list(pages(api, type="job.failed"))
    assert [(page["data"], page["next_after"], page["has_more"]) for page in found] == [
        ([], 3, True),
        ([], 6, True),
        ([], 7, False),
    ]


def test_now_is_the_end_of_the_log(api: Api) -> None:
    submitted(api, 2)
    answer = api.get("/v1/events?after=now").json
    assert (answer["data"], answer["next_after"], answer["has_more"]) == ([], 2, False)


@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/stream"])
def test_a_cursor_beyond_the_end_is_of_another_log(api: Api, path: str) -> None:
    submitted(api)
    answer = api.get(f"{path}?after=2")
    assert (answer.status_code, answer.json["code"]) == (409, "cursor_ahead")
    assert api.get("/v1/events?after=1").status_code == 200


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("after=-1", "/after"),
        ("after=soon", "/after"),
        ("after=1&after=2", "/after"),
        ("after=9999999999999999999", "/after"),
        ("type=job.eaten", "/type/0"),
        ("wait=-1", "/wait"),
        ("limit=201", "/limit"),
        ("before=3", "/before"),
    ],
)
def test_what_cannot_be_asked_is_named(api: Api, query: str, pointer: str) -> None:
    answer = api.get(f"/v1/events?{query}")
    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == pointer


def test_a_wait_ends_with_the_first_event_that_is_for_the_caller(app: Flask, api: Api, stranger: Api) -> None:
    waits = api.parts.settings.wait_max_s
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: Api(app.test_client(), api.parts, api.key).get(f"/v1/events?wait={waits}").json)
        submitted(stranger)
        (track_id,) = submitted(api)
        answer = waiting.result(PATIENCE_S)
    assert [event["track_id"] for event in answer["data"]] == [track_id]


def test_a_wait_for_nothing_ends_and_moves_on(api: Api, stranger: Api) -> None:
    submitted(stranger)
    answer = api.get("/v1/events?wait=1").json
    assert (answer["data"], answer["next_after"], answer["has_more"]) == ([], 1, False)


def test_too_many_waiters_are_refused_but_what_is_there_is_answered(app: Flask, api: Api) -> None:
    app.extensions["waiting"]._max_waiters = 0
    for path in ("/v1/events?wait=5", "/v1/events/stream"):
        answer = api.get(path)
        assert (answer.status_code, answer.json["code"]) == (429, "too_many_waiters")
        assert int(answer.headers["Retry-After"]) > 0
    submitted(api)
    assert len(api.get("/v1/events?wait=5").json["data"]) == 1


def test_many_followers_at_once_get_the_same(app: Flask, parts: Parts, api: Api) -> None:
    feed: Feed = app.extensions["feed"]
    waiting = app.extensions["waiting"]
    asked = threading.Barrier(20)

    def follow(_: int) -> list[int]:
        found: list[int] = []
        asked.wait(PATIENCE_S)
        while len(found) < 40:
            page = feed.wait(found[-1] if found else 0, Wanted(), 7, waiting.wait_until, PATIENCE_S)
            found += [entry.seq for entry in page.entries]
        return found

    with ThreadPoolExecutor(20) as pool:
        following = pool.map(follow, range(20))
        for _ in range(20):
            submitted(api, 2)
        assert all(found == list(range(1, 41)) for found in following)


def test_who_is_far_behind_reads_the_database_and_misses_nothing(
    app: Flask, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "KEPT", 3)
    feed: Feed = app.extensions["feed"]
    waiting = app.extensions["waiting"]
    with feed.following():
        feed.wait(0, Wanted(), 7, waiting.wait_until, 0.2)
        submitted(api, 9)
        page = feed.wait(8, Wanted(), 7, waiting.wait_until, PATIENCE_S)
        assert [entry.seq for entry in page.entries] == [9]
        page = feed.page(0, Wanted(), 5)
        assert ([entry.seq for entry in page.entries], page.next_after, page.has_more) == ([1, 2, 3, 4, 5], 5, True)
        page = feed.page(6, Wanted(), 5)
        assert ([entry.seq for entry in page.entries], page.next_after, page.has_more) == ([7, 8, 9], 9, False)


def test_a_key_without_read_follows_nothing(app: Flask, parts: Parts) -> None:
    writer = Api(app.test_client(), parts, key_for(parts, "acme", Scope.SUBMIT))
    for path in ("/v1/events", "/v1/events/stream"):
        assert writer.get(path).status_code == 403
        assert app.test_client().get(path).status_code == 401
    assert Api(app.test_client(), parts, BOOTSTRAP_KEY).get("/v1/events").status_code == 200
