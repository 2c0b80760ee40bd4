"""Jobs, by the client: everything that it can do, and the one kind of error."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_type_hints

import pytest

from tests.databases import free_port
from tests.served import Served, serve
from tests.web.conftest import BOOTSTRAP_KEY, NOW
from tests.web.test_resolve import unconfirmed
from webhook_app.client import ApiError, Client, Fault, Image, Job, Waited, is_over
from webhook_app.domain.ids import new_track_id
from webhook_app.web.answers import ImageAnswer, JobAnswer, JobFault, WaitAnswer
from webhook_app.web.app import create_app
from webhook_app.wiring import Parts


def test_a_job_is_submitted_once_for_its_key_and_read(client: Client) -> None:
    job = client.submit({"prompt": "a lighthouse", "seed": 5}, idempotency_key="order-42", tags=["spring"])
    assert (job["status"], job["input"]["seed"], job["tags"]) == ("queued", 5, ["spring"])
    again = client.submit({"prompt": "a lighthouse", "seed": 5}, idempotency_key="order-42", tags=["spring"])
    assert again["track_id"] == job["track_id"]
    assert client.get(job["track_id"])["number"] == job["number"]


@pytest.mark.parametrize(
    ("shape", "answer"), [(Job, JobAnswer), (Image, ImageAnswer), (Fault, JobFault), (Waited, WaitAnswer)]
)
def test_the_shapes_are_those_of_the_server(shape: type[Any], answer: type[Any]) -> None:
    assert get_type_hints(shape).keys() == answer.model_fields.keys()


def test_jobs_are_listed_over_all_pages_by_filters(client: Client) -> None:
    for n in range(5):
        client.submit({"prompt": f"number {n}"}, tags=["odd" if n % 2 else "even"], metadata={"n": n})
    assert [job["input"]["prompt"][-1] for job in client.jobs(limit=2)] == ["4", "3", "2", "1", "0"]
    assert [job["input"]["prompt"][-1] for job in client.jobs(limit=2, order="created_at", tag=["even"])] == list("024")
    assert [job["input"]["prompt"][-1] for job in client.jobs(tag=("odd", "even"), metadata={"n": 3})] == ["3"]
    assert list(client.jobs(status=["failed"], unconfirmed=True)) == []
    assert len(list(client.jobs(created_after=datetime(2026, 1, 1, tzinfo=UTC), reference=None))) == 5


def test_a_wait_ends_with_the_job(served: Served, client: Client) -> None:
    track_id = client.submit({"prompt": "a lighthouse"})["track_id"]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.wait, track_id)
        served.api.change_job(track_id, status="succeeded", completed_at=NOW, archive_status="pending")
        job = waiting.result(30)
    assert job["status"] == "succeeded"
    assert (is_over(job), is_over(job, "archived")) == (True, False)
    assert client.wait(track_id, until="archived", timeout_s=0)["archive_status"] == "pending"
    served.api.change_job(track_id, archive_status="archived")
    assert is_over(client.wait(track_id, until="archived"), "archived")


def test_a_wait_that_is_over_before_the_job_says_what_is_true(client: Client) -> None:
    track_id = client.submit({"prompt": "a lighthouse"})["track_id"]
    for timeout_s in (0, 0.05, 1.05):
        assert not is_over(client.wait(track_id, timeout_s=timeout_s))
    assert client.get(track_id, wait_s=1)["status"] == "queued"


def ids(waited: Waited) -> tuple[list[str], list[str], list[str]]:
    return [job["track_id"] for job in waited["done"]], waited["pending"], waited["unknown"]


def test_many_are_waited_for_any_and_all_of_them(served: Served, client: Client) -> None:
    done = {"status": "succeeded", "completed_at": NOW, "archive_status": "archived"}
    first, second, third = (served.api.submit(f"number {n}") for n in range(3))
    none = new_track_id()
    with Client(served.url, served.key) as other, ThreadPoolExecutor(2) as pool:
        everything = pool.submit(client.wait_all, [first, none, second], until="archived")
        one = pool.submit(other.wait_any, [third, first, second])
        served.api.change_job(second, **done)
        assert ids(one.result(30)) == ([second], [third, first], [])
        served.api.change_job(first, **done)
        assert ids(everything.result(30)) == ([first, second], [], [none])
    assert ids(client.wait_all([third, first], timeout_s=0.05)) == ([first], [third], [])
    assert ids(client.wait_any([third], timeout_s=1.05)) == ([], [third], [])
    assert ids(client.wait_any([none])) == ([], [], [none])


def test_where_too_many_wait_it_looks_until_the_time_is_over(parts: Parts) -> None:
    crowded = replace(parts, settings=parts.settings.model_copy(update={"max_waiters": 0}))
    with serve(create_app(crowded), crowded) as served, Client(served.url, served.key) as client:
        track_id = served.api.submit()
        assert ids(client.wait_all([track_id], timeout_s=1.2)) == ([], [track_id], [])
        assert not is_over(client.wait(track_id, timeout_s=1.2))


def test_an_unconfirmed_submit_is_decided_upon(served: Served, client: Client) -> None:
    track_id = unconfirmed(served.api)
    with Client(served.url, BOOTSTRAP_KEY) as admin:
        job = admin.resolve(track_id, "fail")
        assert job["error"] is not None
        assert (job["status"], job["error"]["code"]) == ("failed", "submit_unconfirmed")
        with pytest.raises(ApiError) as refused:
            admin.resolve(track_id, "repeat")
    assert (refused.value.status, refused.value.code) == (409, "job_already_ended")


def test_a_job_is_canceled(served: Served, client: Client) -> None:
    track_id = served.api.submit()
    assert client.cancel(track_id)["status"] == client.cancel(track_id)["status"] == "canceled"


def test_jobs_are_erased_alone_and_by_a_filter(served: Served, client: Client) -> None:
    track_id = served.api.submit(reference="order-42", metadata={"n": 1})
    wanted = {"reference": "order-42", "metadata": {"n": 1}, "created_before": datetime.now(UTC) + timedelta(hours=1)}
    assert client.erase_many(dry_run=True, **wanted) == {"erasure_id": None, "matched": 1, "dry_run": True}
    erasure = client.erase(track_id)
    assert client.erasure(erasure["erasure_id"]) == erasure
    assert client.erase_many(**wanted)["matched"] == 0


def test_a_refusal_carries_all_that_the_server_said(served: Served, client: Client) -> None:
    with pytest.raises(ApiError) as refused:
        client.get(new_track_id())
    assert (refused.value.status, refused.value.code) == (404, "not_found")
    assert refused.value.detail == str(refused.value) == "There is no such job."
    assert (refused.value.request_id or "").startswith("req_")
    with pytest.raises(ApiError) as refused:
        client.submit({"prompt": "x", "width": 7})
    assert refused.value.errors[0]["pointer"] == "/input/width"
    with pytest.raises(ApiError) as refused:
        Client(served.url + "/", "wapp_wrong").get(new_track_id())
    assert refused.value.status == 401
    assert "wapp_wrong" not in repr(refused.value)


def test_a_server_that_is_not_there_or_is_another_is_said(served: Served) -> None:
    with pytest.raises(ApiError) as refused:
        Client(f"http://127.0.0.1:{free_port()}", "k").get("x")
    assert (refused.value.status, refused.value.code) == (None, "unreachable")
    with pytest.raises(ApiError) as refused:
        Client(served.url + "/docs#", "k").get("x")
    assert (refused.value.status, refused.value.code) == (200, "not_understood")


@pytest.mark.parametrize(
    ("url", "key"), [("example.com", "k"), ("http://x", ""), ("http://x", "a\nb"), ("http://x", "é")]
)
def test_what_cannot_be_a_url_or_a_key_is_refused_at_once(url: str, key: str) -> None:
    with pytest.raises(ValueError, match=r"URL|key"):
        Client(url, key)
