"""`GET /v1/jobs/{track_id}`: the truth now, cheaply again, or as soon as there is news; and the picture's facts."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.web.conftest import NOW, Api
from tests.web.test_problems import problem
from webhook_app.domain.ids import new_track_id
from webhook_app.domain.job import ArchiveStatus, Status
from webhook_app.flows import pausing
from webhook_app.store.tables import Attempt, Blob
from webhook_app.web.answers import ImageFacts, JobAnswer
from webhook_app.web.app import create_app
from webhook_app.web.states import Until, is_over
from webhook_app.wiring import Parts

SHA256 = "ab" * 32
DONE = {"status": "succeeded", "completed_at": NOW, "waiting_for": None, "due_at": None}


def archive(api: Api, track_id: str) -> None:
    size = {"bytes": 1_385_622, "width": 768, "height": 1024, "thumbnails": [128, 256, 512]}
    api.add(Blob, sha256=SHA256, state="stored", content_type="image/png", created_at=NOW, **size)
    source = "https://pictures.example/1.png"
    api.change_images(track_id, status="archived", sha256=SHA256, sources=[source], source_url=source, archived_at=NOW)
    api.change_job(track_id, **DONE, archive_status="archived", archived_at=NOW)


def test_what_is_no_job_is_not_found(api: Api) -> None:
    for track_id in (new_track_id(), "nonsense", api.submit().upper(), "%00", "1"):
        problem(api.get(f"/v1/jobs/{track_id}"), 404, "not_found")


def test_an_erased_job_is_gone(api: Api) -> None:
    track_id = api.submit()
    api.change_job(track_id, erased_at=NOW)
    for rest in ("", "/events", "/attempts"):
        problem(api.get(f"/v1/jobs/{track_id}{rest}"), 410, "erased")
    assert api.get("/v1/jobs").json["data"] == []


def test_what_has_not_changed_is_not_sent_again(api: Api) -> None:
    path = f"/v1/jobs/{api.submit()}"
    first = api.get(path)
    again = api.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert api.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_change_changes_the_etag(api: Api) -> None:
    track_id = api.submit()
    first = api.get(f"/v1/jobs/{track_id}")
    api.change_job(track_id, status="submitting")
    again = api.get(f"/v1/jobs/{track_id}", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.json["status"]) == (200, "submitting")


def test_an_archived_picture_has_the_facts_of_its_bytes(api: Api) -> None:
    track_id = api.submit()
    archive(api, track_id)
    job = api.get(f"/v1/jobs/{track_id}").json
    JobAnswer.model_validate(job)
    image = job["images"][0]
    assert (job["archive_status"], image["status"], image["sha256"]) == ("archived", "archived", SHA256)
    assert (image["content_type"], image["bytes"], image["width"], image["height"]) == ("image/png", 1385622, 768, 1024)
    assert image["source_url"] == "https://pictures.example/1.png"
    assert image["thumbnail_url"] == image["url"] + "?size=256"
    facts = api.get(f"/v1/images/{image['image_id']}").json
    assert list(facts) == list(ImageFacts.model_fields)
    assert facts == image | {"track_id": track_id}


def test_a_picture_that_came_inline_has_no_source_url(api: Api) -> None:
    track_id = api.submit()
    api.change_images(track_id, sources=["data:image/png;base64,AAAA"])
    assert api.get(f"/v1/jobs/{track_id}").json["images"][0]["source_url"] is None


def test_an_unknown_picture_is_not_found_and_an_erased_one_gone(api: Api) -> None:
    problem(api.get("/v1/images/img_nothing"), 404, "not_found")
    track_id = api.submit()
    image_id = api.get(f"/v1/jobs/{track_id}").json["images"][0]["image_id"]
    api.change_job(track_id, erased_at=NOW)
    problem(api.get(f"/v1/images/{image_id}"), 410, "erased")


def test_the_next_look_at_the_provider_is_the_next_action(api: Api) -> None:
    track_id = api.submit()
    assert api.get(f"/v1/jobs/{track_id}").json["next_action_at"] is not None
    api.add(Attempt, track_id=track_id, n=1, sent_at=NOW, evidence="running", poll_at=NOW + timedelta(seconds=9))
    api.change_job(track_id, status="processing", attempt=1, due_at=None)
    assert api.get(f"/v1/jobs/{track_id}").json["next_action_at"] == "2026-11-01T12:00:09Z"


def test_the_place_in_the_queue_takes_clients_in_turn_then_priority_then_age(api: Api, stranger: Api) -> None:
    first, second = api.submit(), api.submit()
    urgent, other = api.submit(priority=5), stranger.submit()
    places = {
        track_id: who.get(f"/v1/jobs/{track_id}").json["queue_position"]
        for who, track_id in [(api, first), (api, second), (api, urgent), (stranger, other)]
    }
    assert sorted([places[urgent], places[other]]) == [1, 2]
    assert (places[first], places[second]) == (3, 4)


def test_an_answer_stays_under_20_kb_whatever_was_asked(api: Api) -> None:
    long = "\N{OCTOPUS}" * 10_000
    asked = {"negative_prompt": long, "samples": 4}
    members = {"metadata": {"k": "x" * 4_000}, "tags": ["\N{OCTOPUS}" * 64] * 20, "reference": "\N{OCTOPUS}" * 200}
    track_id = api.submit(long, input=asked, **members)
    api.change_job(track_id, provider_meta={"prompt": long})
    response = api.get(f"/v1/jobs/{track_id}")
    assert len(response.data) < 20_000
    JobAnswer.model_validate(response.json)
    assert response.json["input"]["prompt"].endswith("…")


def test_a_prompt_of_ordinary_length_is_never_cut(api: Api) -> None:
    prompt = "x" * 10_000
    assert api.get(f"/v1/jobs/{api.submit(prompt)}").json["input"]["prompt"] == prompt


def test_a_wait_ends_with_the_job(api: Api) -> None:
    track_id = api.submit()
    waiting = api.http.application.extensions["waiting"]
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(api.get, f"/v1/jobs/{track_id}?wait=5")
        while not waiting.count and not answer.done():
            pass
        api.change_job(track_id, **DONE)
        api.http.application.extensions["wakeups"].notify([track_id])
        response = answer.result(30)
    assert (response.status_code, response.json["status"]) == (200, "succeeded")
    assert response.headers["Preference-Applied"] == "wait=5"


def test_a_wait_is_cut_to_the_installations_most(api: Api) -> None:
    track_id = api.submit()
    api.change_job(track_id, **DONE)
    for query, prefer in (("?wait=999", ""), ("", "wait=999"), ("?wait=999", "wait=1")):
        response = api.get(f"/v1/jobs/{track_id}{query}", headers={"Prefer": prefer})
        assert response.headers["Preference-Applied"] == "wait=5"


def test_a_wrong_parameter_is_refused(api: Api) -> None:
    track_id = api.submit()
    for query in ("wait=x", "wait=-1", "wait=1&wait=2", "until=never", "wat=1", "wait=1.5"):
        response = api.get(f"/v1/jobs/{track_id}?{query}")
        assert response.status_code == 422
        assert response.json["errors"][0]["pointer"] == "/" + query.partition("=")[0]


def test_with_too_many_waiters_the_answer_is_what_is_true(parts: Parts, api: Api) -> None:
    few = replace(parts, settings=parts.settings.model_copy(update={"max_waiters": 0}))
    busy = Api(create_app(few).test_client(), few, api.key)
    response = busy.get(f"/v1/jobs/{api.submit()}?wait=5")
    assert (response.status_code, response.json["status"]) == (200, "queued")
    assert response.headers["Retry-After"]
    assert "Preference-Applied" not in response.headers


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("archive_status", list(ArchiveStatus))
def test_a_wait_for_the_archive_ends_when_nothing_more_will_come(status: Status, archive_status: ArchiveStatus) -> None:
    ended = status.value in ("succeeded", "failed", "canceled", "timed_out")
    assert is_over(status, archive_status, Until.TERMINAL) is ended
    assert is_over(status, archive_status, Until.ARCHIVED) is (ended and archive_status.value != "pending")


def test_a_queued_job_says_that_its_provider_is_paused(api: Api) -> None:
    path = f"/v1/jobs/{api.submit()}"
    assert api.get(path).json["waiting_for"] == "provider_slot"
    pausing.pause(api.parts.store, "modelslab", reason="maintenance", by="operator", until=None, now=NOW)
    assert api.get(path).json["waiting_for"] == "provider_paused"
    assert api.get("/v1/jobs").json["data"][0]["waiting_for"] == "provider_paused"
    pausing.resume(api.parts.store, "modelslab", by="operator", now=NOW)
    assert api.get(path).json["waiting_for"] == "provider_slot"
