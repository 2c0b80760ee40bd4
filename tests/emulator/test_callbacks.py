"""Callbacks over real HTTP, and what the ledger says of them."""

import json
import threading


def test_a_finished_job_is_posted_to_its_webhook(start, receiver):
    emulator = start(submit_form="processing", delay_s=0.05)
    job = emulator.submit(webhook=receiver.url, track_id="job-1", samples=2).json()
    headers, raw = receiver.got.get(timeout=20)
    body = json.loads(raw)
    assert headers["Content-Type"] == "application/json"
    assert b"\\/generations\\/" in raw
    assert set(body) == {
        "status", "id", "track_id", "output", "proxy_links", "generationTime", "nsfw_content_detected",
        "webhook_status", "meta",
    }  # fmt: skip
    assert (body["status"], body["id"], body["track_id"]) == ("success", job["id"], "job-1")
    assert body["output"] == job["future_links"]
    assert emulator.get(body["output"][1]).status_code == 200
    assert (body["meta"]["id"], body["meta"]["seed"]) == (str(job["id"]), job["meta"]["seed"])


def test_a_callback_shows_no_id_that_the_submit_did_not_show(start, receiver):
    emulator = start()
    emulator.submit(webhook=receiver.url, track_id=3422)
    body = receiver.next()
    assert body["track_id"] == 3422
    assert "id" not in body
    assert "id" not in body["meta"]
    emulator.post("/_emulator/config", {"submit_form": "success_null_id"})
    emulator.submit(webhook=receiver.url)
    assert receiver.next()["id"] is None


def test_a_failed_job_is_posted_in_the_documented_form(start, receiver):
    emulator = start(submit_form="processing", ending="failed")
    job = emulator.submit(webhook=receiver.url, track_id="t").json()
    assert receiver.next() == {
        "status": "failed", "id": job["id"], "message": "Failed, Try Again", "track_id": "t", "output": "",
    }  # fmt: skip


def test_the_callback_comes_once_twice_or_never_as_told(start, receiver):
    emulator = start(callback="never")
    emulator.submit(webhook=receiver.url, track_id="never")
    emulator.post("/_emulator/config", {"callback": "twice"})
    emulator.submit(webhook=receiver.url, track_id="twice")
    entries = emulator.await_ledger("callback", 2)
    assert [(entry["track_id"], entry["turn"], entry["http_status"]) for entry in entries] == [
        ("twice", 1, 200),
        ("twice", 2, 200),
    ]
    assert receiver.next() == receiver.next()
    assert receiver.got.empty()


def test_a_receiver_that_is_not_there_is_tried_once_and_noted(start):
    emulator = start()
    emulator.submit(webhook="http://127.0.0.1:9/nobody", track_id="a")
    emulator.submit(webhook="not a url", track_id="b")
    entries = {entry["track_id"]: entry for entry in emulator.await_ledger("callback", 2)}
    assert all(entry["http_status"] is None and entry["error"] for entry in entries.values())
    assert set(entries) == {"a", "b"}


def test_the_callback_waits_for_the_submits_answer(start, receiver):
    emulator = start(submit_form="success")
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(emulator.submit(webhook=receiver.url).json()["status"]))
    thread.start()
    receiver.next()
    thread.join(20)
    assert answers == ["success"]
    emulator.await_ledger("callback", 1)
    assert [entry["kind"] for entry in emulator.ledger()] == ["submit", "answer", "callback"]
