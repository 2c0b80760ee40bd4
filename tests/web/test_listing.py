"""`GET /v1/jobs`: each filter alone, and pages that lose nothing and show nothing twice."""

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from tests.web.conftest import NOW, Api
from tests.web.test_problems import problem
from webhook_app.web.answers import JobList

FILTERS = {
    "": "owl cat dog",
    "order=created_at": "dog cat owl",
    "status=queued": "dog",
    "status=queued&status=failed": "cat dog",
    "tag=spring": "cat dog",
    "tag=pets&tag=nothing": "dog",
    "tag=spri": "",
    "flag=nsfw": "owl",
    "flag=fewer_than_asked&flag=blank": "owl cat",
    "reference=r-1": "dog",
    "batch_id=bat_1": "cat",
    "model=flux/img2img": "owl",
    "provider=modelslab": "owl cat dog",
    "provider=other": "",
    "seed=1": "dog",
    "q=red": "dog",
    "q=happy+dog": "dog",
    "q=happy+cat": "",
    "q=100%25": "dog",
    "q=%25": "dog",
    "q=_": "",
    "metadata.n=5": "cat",
    "metadata.b=true": "cat",
    "metadata.b=1": "",
    "metadata.s=5": "cat",
    "metadata.a.b=x+y": "cat",
    "metadata.a=x": "",
    "metadata.n=5&metadata.s=6": "",
    "unconfirmed=true": "owl",
    "unconfirmed=false": "cat dog",
    "created_after=2026-11-01T13:00:00Z": "owl cat",
    "created_before=2026-11-01T13:00:00Z": "dog",
    "created_after=2026-11-01T14:00:00%2B01:00&created_before=2026-11-01T14:00:00Z": "cat",
    "created_after=2026-11-01T14:00:00+01:00": "owl cat",
    "tag=spring&status=failed&q=cat": "cat",
}

WRONG = {
    "status=done": "/status/0",
    "limit=0": "/limit",
    "limit=201": "/limit",
    "limit=x": "/limit",
    "seed=-1": "/seed",
    "seed=99999999999999999999": "/seed",
    "unconfirmed=maybe": "/unconfirmed",
    "created_after=yesterday": "/created_after",
    "created_after=2026-11-01": "/created_after",
    "created_after=2026-11-01T12:00:00": "/created_after",
    "created_after=2026-13-01T12:00:00Z": "/created_after",
    "created_after=1700000000": "/created_after",
    "created_before=9999-12-31T23:59:59-23:59": "/created_before",
    "order=priority": "/order",
    "reference=a&reference=b": "/reference",
    "statsu=queued": "/statsu",
    "cursor=nonsense": "/cursor",
    "cursor=": "/cursor",
    "metadata.=x": "/metadata.",
    'metadata.a"b=x': '/metadata.a"b',
    "q=%00": "/q",
    "tag=": "/tag/0",
}


def listed(api: Api, query: str) -> list[str]:
    response = api.get(f"/v1/jobs?{query}")
    assert response.status_code == 200, response.text
    return [job["track_id"] for job in response.json["data"]]


@pytest.fixture
def jobs(api: Api) -> dict[str, str]:
    """Three jobs that differ in everything that can be asked for, an hour apart, by name."""
    made = {
        "dog": api.submit("A dog, RED and 100% happy", reference="r-1", tags=["spring", "pets"], input={"seed": 1}),
        "cat": api.submit("a cat", metadata={"n": 5, "b": True, "s": "5", "a.b": "x y"}, tags=["spring"]),
        "owl": api.submit("an owl", model="flux/img2img", input={"init_image": "https://p.example/o.png"}),
    }
    for hours, track_id in enumerate(made.values()):
        api.change_job(track_id, created_at=NOW + timedelta(hours=hours))
    api.change_job(made["cat"], status="failed", completed_at=NOW, batch_id="bat_1", flags=["fewer_than_asked"])
    api.change_job(made["owl"], status="submitting", unconfirmed_since=NOW)
    api.change_images(made["owl"], flags=["nsfw", "blank"])
    return made


def test_a_filter_finds_what_it_names(api: Api, jobs: dict[str, str]) -> None:
    names = {track_id: name for name, track_id in jobs.items()}
    found = {query: " ".join(names[track_id] for track_id in listed(api, query)) for query in FILTERS}
    assert found == FILTERS


def test_a_wrong_parameter_is_refused_by_name(api: Api) -> None:
    answers = {query: api.get(f"/v1/jobs?{query}") for query in WRONG}
    assert {query: answer.status_code for query, answer in answers.items()} == dict.fromkeys(WRONG, 422)
    assert {query: answer.json["errors"][0]["pointer"] for query, answer in answers.items()} == WRONG


@pytest.mark.parametrize("order", ["created_at", "-created_at"])
def test_pages_show_everything_once_even_at_the_same_instant(api: Api, order: str) -> None:
    made = [api.submit(tags=["t&u"]) for _ in range(7)]
    for track_id in made[1:5]:
        api.change_job(track_id, created_at=NOW)
    whole = listed(api, f"order={order}")
    path, seen = f"/v1/jobs?order={order}&limit=3&tag={quote('t&u')}", []
    while path:
        response = api.get(path)
        JobList.model_validate(response.json)
        seen.append([job["track_id"] for job in response.json["data"]])
        more = response.json["has_more"]
        assert more is (response.json["next_cursor"] is not None) is ("Link" in response.headers)
        link = response.headers.get("Link", "")
        assert link.endswith('; rel="next"') is more
        path = link.removeprefix("<http://127.0.0.1:8000").partition(">")[0]
    assert [len(page) for page in seen] == [3, 3, 1]
    assert [track_id for page in seen for track_id in page] == whole
    assert set(whole) == set(made)


def test_a_cursor_is_good_for_its_own_list_alone(api: Api) -> None:
    for _ in range(2):
        api.submit()
    cursor = api.get("/v1/jobs?limit=1").json["next_cursor"]
    assert api.get(f"/v1/jobs?limit=1&cursor={cursor}").status_code == 200
    for query in (f"order=created_at&cursor={cursor}", f"cursor={cursor}x", f"cursor=x{cursor}"):
        problem(api.get(f"/v1/jobs?limit=1&{query}"), 422, "invalid_field")


def test_what_comes_in_meanwhile_does_not_disturb_the_pages(api: Api) -> None:
    old = [api.submit() for _ in range(3)]
    page: Any = api.get("/v1/jobs?limit=2").json
    api.submit()
    rest = api.get(f"/v1/jobs?limit=2&cursor={page['next_cursor']}").json
    assert [job["track_id"] for job in page["data"] + rest["data"]] == old[::-1]
    assert rest["has_more"] is False


def test_everyone_sees_their_own_and_an_admin_all(api: Api, stranger: Api, admin: Api) -> None:
    mine, theirs = api.submit(), stranger.submit()
    client_id = api.get(f"/v1/jobs/{mine}").json["client_id"]
    assert listed(api, "") == [mine]
    assert listed(api, f"client_id={client_id}") == [mine]
    assert listed(admin, "") == [theirs, mine]
    assert listed(admin, f"client_id={client_id}") == [mine]
    problem(stranger.get(f"/v1/jobs?client_id={client_id}"), 403, "insufficient_scope")


def test_a_listed_job_is_the_job_as_it_is_shown_alone(api: Api) -> None:
    track_id = api.submit()
    assert api.get("/v1/jobs").json["data"] == [api.get(f"/v1/jobs/{track_id}").json]
