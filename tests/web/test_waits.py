"""`POST /v1/jobs/wait`: any or all of many jobs, each told as done, pending or unknown."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.web.conftest import NOW, Api
from tests.web.test_problems import problem
from webhook_app.domain.ids import new_track_id
from webhook_app.web.answers import WaitAnswer
from webhook_app.web.app import create_app
from webhook_app.wiring import Parts

DONE = {"status": "succeeded", "completed_at": NOW, "archive_status": "pending"}
PATIENCE_S = 30


def ask(api: Api, track_ids: list[str], **members: Any) -> tuple[list[str], list[str], list[str]]:
    """The ids that are done, pending and unknown."""
    return told(api.post("/v1/jobs/wait", {"track_ids": track_ids} | members))


def told(response: TestResponse) -> tuple[list[str], list[str], list[str]]:
    assert response.status_code == 200, response.text
    found = WaitAnswer.model_validate(response.json)
    return [job.track_id for job in found.done], found.pending, found.unknown


def asleep(api: Api, pool: ThreadPoolExecutor, track_ids: list[str], **members: Any) -> "Future[Any]":
    """A request that waits by the time this returns."""
    waiting = api.http.application.extensions["waiting"]
    answer = pool.submit(ask, api, track_ids, **members)
    while not waiting.count and not answer.done():
        pass
    return answer


def end(api: Api, track_id: str, **values: Any) -> None:
    api.change_job(track_id, **(DONE | values))
    api.http.application.extensions["wakeups"].notify([track_id])


def test_what_has_ended_is_told_at_once_and_shown_as_get_shows_it(api: Api) -> None:
    first, second = api.submit("one"), api.submit("two")
    api.change_job(second, **DONE)
    assert ask(api, [first, second], mode="any") == ([second], [first], [])
    assert ask(api, [first, second], wait_s=0) == ([second], [first], [])
    shown = api.post("/v1/jobs/wait", {"track_ids": [second]}).json["done"]
    assert shown == [api.get(f"/v1/jobs/{second}").json]


def test_any_ends_with_the_first_and_all_with_the_last(api: Api) -> None:
    track_ids = [api.submit(f"number {n}") for n in range(3)]
    with ThreadPoolExecutor(2) as pool:
        waits = asleep(api, pool, track_ids, mode="all")
        first = pool.submit(ask, api, track_ids, mode="any")
        end(api, track_ids[1])
        assert first.result(PATIENCE_S) == ([track_ids[1]], [track_ids[0], track_ids[2]], [])
        end(api, track_ids[2])
        assert not waits.done()
        end(api, track_ids[0])
        assert waits.result(PATIENCE_S) == (track_ids, [], [])


def test_a_wait_for_the_archive_outlasts_the_job(api: Api) -> None:
    track_id = api.submit()
    api.change_job(track_id, **DONE)
    assert ask(api, [track_id]) == ([track_id], [], [])
    with ThreadPoolExecutor(1) as pool:
        waits = asleep(api, pool, [track_id], until="archived")
        end(api, track_id, archive_status="partial")
        assert waits.result(PATIENCE_S) == ([track_id], [], [])


def test_when_the_wait_ends_it_says_what_is_true(api: Api) -> None:
    track_id = api.submit()
    assert ask(api, [track_id], wait_s=1) == ([], [track_id], [])


def test_what_is_not_the_caller_s_or_erased_is_unknown_and_not_waited_for(api: Api, stranger: Api, admin: Api) -> None:
    mine, theirs, erased, none = api.submit(), stranger.submit(), api.submit(), new_track_id()
    assert api.delete(f"/v1/jobs/{erased}").status_code == 202
    nobody = [theirs, erased, none, "no id", "x" * 100]
    assert ask(api, nobody) == ([], [], nobody)
    assert ask(api, [mine, *nobody], wait_s=0) == ([], [mine], nobody)
    assert ask(admin, [mine, theirs], wait_s=0) == ([], [mine, theirs], [])


def test_one_that_is_erased_while_it_is_waited_for_ends_the_wait(api: Api) -> None:
    track_id = api.submit()
    with ThreadPoolExecutor(1) as pool:
        waits = asleep(api, pool, [track_id])
        assert api.delete(f"/v1/jobs/{track_id}").status_code == 202
        assert waits.result(PATIENCE_S) == ([], [], [track_id])


def test_an_id_given_twice_counts_once(api: Api) -> None:
    track_id = api.submit()
    assert ask(api, [track_id] * 3, wait_s=0) == ([], [track_id], [])


def test_a_thousand_are_taken_and_one_more_is_refused(api: Api) -> None:
    many = [new_track_id() for _ in range(1_000)]
    assert ask(api, many) == ([], [], many)
    problem(api.post("/v1/jobs/wait", {"track_ids": [*many, many[0]]}), 422, "invalid_field")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/track_ids"),
        ({"track_ids": []}, "/track_ids"),
        ({"track_ids": "x"}, "/track_ids"),
        ({"track_ids": [1]}, "/track_ids/0"),
        ({"track_ids": ["x" * 101]}, "/track_ids/0"),
        ({"track_ids": ["x"], "mode": "some"}, "/mode"),
        ({"track_ids": ["x"], "until": "never"}, "/until"),
        ({"track_ids": ["x"], "wait_s": -1}, "/wait_s"),
        ({"track_ids": ["x"], "wait_s": 1.5}, "/wait_s"),
        ({"track_ids": ["x"], "wait": 1}, "/wait"),
    ],
)
def test_a_wrong_member_is_refused(api: Api, body: dict[str, Any], pointer: str) -> None:
    code = "unknown_field" if pointer == "/wait" else "invalid_field"
    assert problem(api.post("/v1/jobs/wait", body), 422, code)["errors"][0]["pointer"] == pointer


def test_over_the_cap_it_is_refused_unless_there_is_nothing_to_wait_for(parts: Parts, api: Api) -> None:
    few = replace(parts, settings=parts.settings.model_copy(update={"max_waiters": 0}))
    busy = Api(create_app(few).test_client(), few, api.key)
    track_id = api.submit()
    refused = busy.post("/v1/jobs/wait", {"track_ids": [track_id]})
    problem(refused, 429, "too_many_waiters")
    assert int(refused.headers["Retry-After"]) > 0
    assert ask(busy, [track_id], wait_s=0) == ([], [track_id], [])
    api.change_job(track_id, **DONE)
    assert ask(busy, [track_id]) == ([track_id], [], [])
