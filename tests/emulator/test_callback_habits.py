"""Callbacks that misbehave, as a real receiver gets them, and what the ledger says of them."""

import json
import threading
from typing import Any

import pytest

from tests.emulator.conftest import read_to_the_end
from webhook_app.emulator.postings import BASE64URL, forged

TRACK_ID = "0192f3c4-5d6e-7f80-9a1b-2c3d4e5f6071"


def test_a_late_callback_comes_so_many_seconds_later(start, receiver):
    emulator = start(callback="late", callback_late_s=0.3)
    emulator.submit(webhook=receiver.url)
    assert receiver.next()["status"] == "success"
    (entry,) = emulator.await_ledger("callback", 1)
    (answer,) = emulator.ledger(kind="answer")
    assert entry["sent_at"] - answer["at"] >= 0.3


@pytest.mark.parametrize("form", ["auto", "processing"])
def test_an_early_callback_is_answered_before_the_submit_is(start, receiver, form):
    emulator = start(callback="early", submit_form=form, delay_s=0.05)
    answer = emulator.submit(webhook=receiver.url, track_id="t1", instant_response=True).json()
    assert [entry["kind"] for entry in emulator.ledger()] == ["submit", "callback", "answer"]
    assert answer["status"] == "processing"
    callback = receiver.next()
    assert (callback["status"], callback["id"]) == ("success", answer["id"])
    assert emulator.get(callback["output"][0]).status_code == 200
    assert emulator.fetch(answer["id"])["status"] == "success"


def test_an_early_callback_holds_the_submit_until_its_receiver_has_answered(start, receiver):
    emulator = start(callback="early")
    may_answer = receiver.hold()
    answers: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: answers.append(emulator.submit(webhook=receiver.url).json()))
    thread.start()
    receiver.next()
    assert [entry["kind"] for entry in type(emulator)(emulator.url).ledger()] == ["submit"]
    assert answers == []
    may_answer.set()
    thread.join(20)
    assert answers[0]["status"] == "success"


def test_an_early_callback_comes_even_when_the_answer_never_does(start, receiver):
    emulator = start(callback="early", submit_fault="reset_after_read")
    with pytest.raises(ConnectionResetError):
        read_to_the_end(emulator.open_submit(webhook=receiver.url))
    assert receiver.next()["status"] == "success"
    assert [entry["kind"] for entry in emulator.ledger()] == ["submit", "callback", "answer"]


def test_reordered_callbacks_end_with_progress_and_a_failure(start, receiver):
    emulator = start(callback="reordered", submit_form="processing")
    job = emulator.submit(webhook=receiver.url, track_id="t1").json()
    success, progress, failure = (receiver.next() for _ in range(3))
    assert success["output"] == job["future_links"]
    assert progress == {
        "status": "processing", "id": job["id"], "track_id": "t1", "eta": 12, "output": [],
        "future_links": job["future_links"],
    }  # fmt: skip
    assert failure == {
        "status": "failed", "id": job["id"], "message": "Processing failed: Invalid input dimensions", "track_id": "t1",
    }  # fmt: skip
    said = [entry["says"] for entry in emulator.await_ledger("callback", 3)]
    assert said == ["result", "progress", "failure"]


@pytest.mark.parametrize("ending", ["success", "failed"])
def test_an_untracked_callback_names_its_track_id_nowhere(start, receiver, ending):
    emulator = start(callback="untracked", submit_form="processing", ending=ending)
    webhook = f"{receiver.url}/{TRACK_ID}/token"
    job = emulator.submit(webhook=webhook, track_id=TRACK_ID).json()
    _, body = receiver.next_raw()
    assert TRACK_ID.encode() not in body
    assert json.loads(body)["id"] == job["id"]


def test_a_malformed_callback_breaks_off_and_nothing_follows(start, receiver):
    emulator = start(callback="malformed")
    emulator.submit(webhook=receiver.url)
    headers, body = receiver.next_raw()
    assert headers["Content-Type"] == "application/json"
    assert body.startswith(b'{"status":"success"')
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)
    assert nothing_follows(emulator, receiver)


def test_a_huge_callback_is_over_one_mebibyte_and_short_in_the_ledger(start, receiver):
    emulator = start(callback="huge")
    emulator.submit(webhook=receiver.url)
    _, body = receiver.next_raw()
    assert len(body) > 2**20
    assert json.loads(body)["status"] == "success"
    (entry,) = emulator.await_ledger("callback", 1)
    assert len(entry["body"]) < 5000
    assert entry["body"].endswith(f"... ({len(body)} characters)")
    assert nothing_follows(emulator, receiver)


def test_an_html_callback_is_an_error_page(start, receiver):
    emulator = start(callback="html")
    emulator.submit(webhook=receiver.url)
    headers, body = receiver.next_raw()
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert body.startswith(b"<!DOCTYPE html>")
    assert nothing_follows(emulator, receiver)


def test_an_error_can_come_with_its_pictures(start, receiver):
    emulator = start(callback="error_with_pictures", submit_form="processing")
    job = emulator.submit(webhook=receiver.url, track_id="t1").json()
    assert receiver.next() == {
        "status": "error", "id": job["id"], "track_id": "t1", "output": job["future_links"], "messege": "",
    }  # fmt: skip


def nothing_follows(emulator: Any, receiver: Any) -> bool:
    """Another job's callback, ordered afterwards, is the next that comes."""
    emulator.post("/_emulator/config", {"callback": "once"})
    emulator.submit(webhook=receiver.url, track_id="the next")
    return bool(receiver.next()["track_id"] == "the next")


def test_a_forged_callback_has_a_wrong_token_and_the_true_one_follows(start, receiver):
    emulator = start(callback="forged")
    emulator.submit(webhook=f"{receiver.url}/t1/1.abcA", track_id="t1")
    (forgery, forged_body), (result, body) = receiver.next_raw(), receiver.next_raw()
    assert (forgery[":path"], result[":path"]) == ("/hook/t1/1.abcg", "/hook/t1/1.abcA")
    assert (json.loads(forged_body)["status"], json.loads(forged_body)["track_id"]) == ("failed", "t1")
    assert json.loads(body)["status"] == "success"
    entries = emulator.await_ledger("callback", 2)
    assert [(entry["says"], entry["webhook"][-1]) for entry in entries] == [("forgery", "g"), ("result", "A")]


def test_a_forged_url_differs_in_a_bit_that_counts():
    for place, character in enumerate(BASE64URL):
        assert BASE64URL.index(forged(f"http://x/{character}")[-1]) ^ place == 32
    assert forged("http://x/%") == "http://x/A"


def test_a_job_without_a_webhook_calls_nobody_whatever_its_habit(start, receiver):
    emulator = start(callback="early,forged,html,reordered,huge")
    for turn in range(12):
        assert emulator.submit(prompt=f"{turn}").json()["status"] == "success"
    assert emulator.ledger(kind="callback") == []
