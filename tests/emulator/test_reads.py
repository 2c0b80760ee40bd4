"""Fetches that lie and pictures that are not there yet."""

import pytest


def job(emulator, **members):
    """A finished job that was answered with its id."""
    return emulator.submit(width=256, height=256, **members).json()


@pytest.fixture
def fetching(start):
    """Starts an emulator whose answers show the id."""
    return lambda **options: start(submit_form="success_int_id", **options)


def test_a_fetch_can_say_processing_for_ever(fetching):
    emulator = fetching(fetch_form="processing")
    done = job(emulator)
    assert {emulator.fetch(done["id"])["status"] for _ in range(4)} == {"processing"}


def test_a_fetch_can_know_nothing_of_its_job(fetching):
    emulator = fetching(fetch_form="unknown")
    answer = emulator.post(f"/api/v1/enterprise/flux/fetch/{job(emulator)['id']}", {"key": "k"})
    assert (answer.status_code, answer.json()) == (200, {"status": "error", "message": "Request not found"})


def test_a_fetch_can_answer_with_another_jobs_success(fetching):
    emulator = fetching(fetch_form="other_job")
    first = job(emulator, prompt="one")
    alone = emulator.fetch(first["id"])
    assert alone["status"] == "success"
    assert alone["id"] != first["id"]
    second = job(emulator, prompt="two")
    assert emulator.fetch(first["id"]) == {
        "status": "success", "id": second["id"], "output": second["output"], "proxy_links": second["output"],
    }  # fmt: skip
    assert emulator.fetch(second["id"])["output"] == first["output"]


def test_a_fetch_can_be_an_html_page(fetching):
    emulator = fetching(fetch_form="html")
    answer = emulator.post(f"/api/v1/enterprise/flux/fetch/{job(emulator)['id']}", {"key": "k"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "Server Error" in answer.text
    (entry,) = emulator.ledger(kind="fetch")
    assert (entry["http_status"], entry["status"]) == (200, None)


def test_a_fetch_can_lack_its_pictures_two_times(fetching):
    emulator = fetching(fetch_form="missing_pictures")
    done = job(emulator)
    answers = [emulator.fetch(done["id"]) for _ in range(4)]
    assert {answer["status"] for answer in answers} == {"success"}
    assert [answer["output"] for answer in answers] == [[], [], done["output"], done["output"]]


def test_a_fetch_lacks_no_pictures_before_there_are_any(start):
    emulator = start(fetch_form="missing_pictures", delay_s=60)
    assert emulator.fetch(emulator.submit(instant_response=True).json()["id"])["status"] == "processing"


def test_a_fetch_can_fail_as_a_call(fetching):
    emulator = fetching(fetch_form="error")
    path = f"/api/v1/enterprise/flux/fetch/{job(emulator)['id']}"
    said = {"status": "error", "message": "Internal server error"}
    answer = emulator.post(path, {"key": "k"})
    assert (answer.status_code, answer.json()) == (500, said)
    emulator.post("/_emulator/config", {"error_style": "legacy"})
    answer = emulator.post(path, {"key": "k"})
    assert (answer.status_code, answer.json()) == (200, said)


@pytest.mark.parametrize(
    ("fault", "code", "content_type", "begin"),
    [
        ("not_found", 404, "text/html; charset=utf-8", "<!doctype html>"),
        ("html", 200, "text/html; charset=utf-8", "<!doctype html>"),
        ("forbidden", 403, "application/xml; charset=utf-8", "<?xml"),
    ],
)
def test_the_first_reads_of_each_picture_can_go_wrong(start, fault, code, content_type, begin):
    emulator = start(picture_fault=fault, picture_fault_reads=2)
    for url in job(emulator, samples=2)["output"]:
        for _ in range(2):
            answer = emulator.get(url)
            assert (answer.status_code, answer.headers["Content-Type"]) == (code, content_type)
            assert answer.text.startswith(begin)
        assert emulator.get(url).content.startswith(b"\x89PNG")
    assert [entry["http_status"] for entry in emulator.ledger(kind="picture")] == [code, code, 200] * 2
    assert {entry["fault"] for entry in emulator.ledger(kind="picture")} == {fault, None}


def test_counted_404s_hold_beside_the_mix(start):
    emulator = start(picture_fault="forbidden", picture_fault_reads=1, picture_404s=2)
    url = job(emulator)["output"][0]
    assert [emulator.get(url).status_code for _ in range(3)] == [403, 404, 200]


def test_pictures_are_deleted_once_and_read_no_more(fetching):
    emulator = fetching()
    done = job(emulator, samples=2)
    asked = {"key": "k", "request_id": done["id"], "type": "image"}
    answers = [emulator.post("/api/v3/delete_image", asked).json() for _ in range(2)]
    assert answers[0] == {"status": "success", "messege": "image deleted"}
    assert answers[1] == emulator.post("/api/v3/delete_image", {"key": "k"}).json()
    assert answers[1] == {"status": "error", "message": "Request not found"}
    assert {emulator.get(url).status_code for url in done["output"]} == {404}
    told = [(entry["asked"], entry["deleted"]) for entry in emulator.ledger(kind="delete")]
    assert told == [(str(done["id"]), True), (str(done["id"]), False), ("", False)]


def test_what_is_not_made_yet_cannot_be_deleted(start):
    emulator = start(delay_s=60)
    running = emulator.submit(instant_response=True).json()["id"]
    answer = emulator.post("/api/v3/delete_image", {"key": "k", "request_id": running})
    assert answer.json()["status"] == "error"
