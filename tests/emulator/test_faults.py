"""Submits that go wrong, seen over a raw socket, and what the ledger says of them."""

import json
import queue
import threading
import time

import pytest

from tests.emulator.conftest import PATIENCE_S, Emulator, read_to_the_end
from webhook_app.emulator.options import EmulatorOptions
from webhook_app.emulator.serve import serve

TAKEN = ["reset_after_read", "silent", "headers_only", "cut", "slow", "html_502_taken", "garbage"]
NOT_TAKEN = ["reset_before_read", "html_502", "json_503", "rate_limited"]
QUICK = {"silence_s": 0.05, "slow_s": 0.05}


def parted(raw: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers by lower-case name, and as much of the body as came."""
    head, _, body = raw.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return int(status.split()[1]), dict(line.lower().split(": ", 1) for line in lines), body


def the_answer(emulator: Emulator, track_id: str) -> dict[str, object]:
    (answer,) = [entry for entry in emulator.ledger(track_id=track_id) if entry["kind"] == "answer"]
    return answer


@pytest.mark.parametrize("fault", TAKEN)
def test_a_taken_submit_has_its_job_callback_and_picture_whatever_its_answer(start, receiver, fault):
    emulator = start(submit_fault=fault, **QUICK)
    with emulator.open_submit(track_id="t1", webhook=receiver.url, width=256, height=256):
        callback = receiver.next()
    assert (callback["status"], callback["track_id"]) == ("success", "t1")
    assert emulator.get(callback["output"][0]).status_code == 200
    (submit,) = emulator.ledger(kind="submit")
    assert (submit["taken"], submit["fault"], submit["refused"]) == (True, fault, None)
    assert (submit["track_id"], submit["webhook"]) == ("t1", receiver.url)
    assert emulator.fetch(submit["id"])["status"] == "success"


@pytest.mark.parametrize("fault", NOT_TAKEN)
def test_a_submit_that_is_not_taken_leaves_no_job_but_its_track_id(start, fault):
    emulator = start(submit_fault=fault)
    try:
        assert read_to_the_end(emulator.open_submit(track_id="t1", webhook="http://127.0.0.1:9/hook"))
    except ConnectionResetError:
        assert fault == "reset_before_read"
    (submit,) = emulator.ledger(kind="submit")
    assert (submit["taken"], submit["fault"], submit["track_id"]) == (False, fault, "t1")
    assert submit["webhook"] == "http://127.0.0.1:9/hook"
    assert "id" not in submit
    assert the_answer(emulator, "t1")["aborted"] == (fault if fault == "reset_before_read" else None)


@pytest.mark.parametrize("fault", ["reset_before_read", "reset_after_read"])
def test_a_reset_is_a_reset_and_no_end_of_file(start, fault):
    emulator = start(submit_fault=fault)
    with pytest.raises(ConnectionResetError):
        read_to_the_end(emulator.open_submit(track_id="t1"))
    answer = the_answer(emulator, "t1")
    assert (answer["http_status"], answer["aborted"], answer["body"]) == (None, fault, None)


def test_a_silent_submit_gets_nothing_until_the_emulator_hangs_up(start):
    emulator = start(submit_fault="silent", silence_s=0.05)
    assert read_to_the_end(emulator.open_submit(track_id="t1")) == b""
    assert (the_answer(emulator, "t1")["http_status"], the_answer(emulator, "t1")["aborted"]) == (None, "silent")


def test_headers_can_be_all_that_comes(start):
    emulator = start(submit_fault="headers_only", silence_s=0.05)
    status, headers, body = parted(read_to_the_end(emulator.open_submit(track_id="t1")))
    assert (status, headers["content-type"], body) == (200, "application/json", b"")
    assert int(headers["content-length"]) > 500
    assert (the_answer(emulator, "t1")["http_status"], the_answer(emulator, "t1")["aborted"]) == (200, "headers_only")


def test_a_cut_answer_is_half_of_what_it_announced(start):
    emulator = start(submit_fault="cut")
    status, headers, body = parted(read_to_the_end(emulator.open_submit(track_id="t1")))
    assert (status, len(body)) == (200, int(headers["content-length"]) // 2)
    assert body.startswith(b'{"status":"success"')
    assert the_answer(emulator, "t1")["aborted"] == "cut"


def test_a_slow_answer_comes_late_but_whole(start):
    emulator = start(submit_fault="slow", slow_s=0.2)
    before = time.monotonic()
    _, _, body = parted(read_to_the_end(emulator.open_submit(track_id="t1")))
    assert time.monotonic() - before >= 0.2
    answer = the_answer(emulator, "t1")
    assert (answer["http_status"], answer["aborted"], answer["body"]) == (200, None, json.loads(body))


def test_the_callback_of_a_slow_submit_does_not_wait_for_its_answer(start, receiver):
    emulator = start(submit_fault="slow", slow_s=60)
    with emulator.open_submit(track_id="t1", webhook=receiver.url):
        assert receiver.next()["status"] == "success"


def test_garbage_is_a_whole_answer_that_is_no_json(start):
    emulator = start(submit_fault="garbage")
    status, headers, body = parted(read_to_the_end(emulator.open_submit()))
    assert (status, len(body)) == (200, int(headers["content-length"]))
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)


@pytest.mark.parametrize("fault", ["html_502", "html_502_taken"])
@pytest.mark.parametrize("style", ["http", "legacy"])
def test_a_bad_gateway_speaks_html_in_both_styles(start, fault, style):
    answer = start(submit_fault=fault, error_style=style).submit()
    assert (answer.status_code, answer.headers["Content-Type"]) == (502, "text/html; charset=utf-8")
    assert "<h1>502 Bad Gateway</h1>" in answer.text


def test_an_overloaded_provider_says_so_in_json(start):
    emulator = start(submit_fault="json_503")
    answer = emulator.submit()
    text = "Service temporarily unavailable. Please try again later."
    assert (answer.status_code, answer.json()) == (503, {"status": "error", "message": text})
    emulator.post("/_emulator/config", {"error_style": "legacy"})
    legacy = emulator.submit()
    assert (legacy.status_code, legacy.json()) == (200, {"status": "error", "messege": text})


def test_a_rate_limit_tells_when_to_come_back_in_body_and_header(start):
    emulator = start(submit_fault="rate_limited", retry_after_s=17)
    answer = emulator.submit()
    assert (answer.status_code, answer.headers["Retry-After"], answer.json()["retry_after"]) == (429, "17", 17)
    assert answer.json()["message"].startswith("Rate limit exceeded")
    emulator.post("/_emulator/config", {"error_style": "legacy"})
    legacy = emulator.submit()
    assert (legacy.status_code, legacy.json()["messege"]) == (200, "Rate limit exceeded")
    assert (legacy.json()["retry_after"], "Retry-After" in legacy.headers) == (17, False)


def test_bursts_refuse_by_count_and_begin_anew_when_told_or_reset(start):
    emulator = start(burst_every=3, burst_length=2)

    def codes(count: int) -> list[int]:
        return [emulator.submit(prompt=f"{count} {turn}").status_code for turn in range(count)]

    assert codes(12) == [200, 200, 200, 429, 429] * 2 + [200, 200]
    emulator.post("/_emulator/reset")
    assert codes(4) == [200, 200, 200, 429]
    emulator.post("/_emulator/config", {"burst_every": 1, "burst_length": 1})
    assert codes(4) == [200, 429, 200, 429]
    emulator.post("/_emulator/config", {"burst_every": 0})
    assert codes(3) == [200] * 3
    refused = [entry for entry in emulator.ledger(kind="submit") if not entry["taken"]]
    assert {entry["fault"] for entry in refused} == {None}
    assert all(entry["refused"].startswith("Rate limit exceeded") for entry in refused)


def test_a_refusal_by_a_burst_is_no_coming_of_the_input(start):
    options = {"seed": 5, "callback": "once,never,twice"}

    def fates(emulator: Emulator) -> list[str]:
        for _ in range(12):
            emulator.submit()
        return [entry["fate"]["callback"] for entry in emulator.ledger(kind="submit") if entry["taken"]]

    steady, bursting = fates(start(**options)), fates(start(**options, burst_every=2, burst_length=1))
    assert bursting == steady[:8]
    assert len(set(steady)) > 1


def test_every_request_leaves_one_submit_and_one_answer(start):
    mix = ",".join([*TAKEN, *NOT_TAKEN, "none"])
    emulator = start(submit_fault=mix, submit_form="auto=4,failed=1,error=1", **QUICK)
    for turn in range(60):
        try:
            read_to_the_end(emulator.open_submit(prompt=f"turn {turn}", track_id=f"t{turn}"))
        except ConnectionResetError:
            continue
    for turn in range(60):
        assert [entry["kind"] for entry in emulator.ledger(track_id=f"t{turn}")] == ["submit", "answer"]
    assert {entry["fault"] for entry in emulator.ledger(kind="submit")} == {*TAKEN, *NOT_TAKEN, None}


def test_two_emulators_with_one_seed_meet_one_sequence_alike(start):
    options = {
        "seed": 23,
        "submit_fault": "none=3,cut=1,html_502=1,garbage=1",
        "callback": "once,forged,huge",
        "picture_fault": "none,html,forbidden",
        "fetch_form": "thin,unknown,error",
    }

    def run(emulator: Emulator) -> list[tuple[object, ...]]:
        before = len(emulator.ledger(kind="submit"))
        for prompt in "abcab" * 4:
            read_to_the_end(emulator.open_submit(prompt=prompt))
        entries = emulator.ledger(kind="submit")[before:]
        return [(entry["fault"], entry.get("fate"), entry.get("seed")) for entry in entries]

    one, other = start(**options), start(**options)
    first = run(one)
    assert run(other) == first
    assert run(one) != first
    one.post("/_emulator/reset")
    assert run(one) == first
    assert run(start(**options | {"seed": 24})) != first


def test_stopping_ends_held_connections_at_once():
    stop, ready = threading.Event(), queue.Queue()
    told = EmulatorOptions(submit_fault="silent,headers_only,slow", delay_s=0.0, silence_s=600, slow_s=600)
    thread = threading.Thread(target=serve, args=(told,), kwargs={"ready": ready.put, "stop": stop}, daemon=True)
    thread.start()
    emulator = Emulator(ready.get(timeout=PATIENCE_S))
    held = [emulator.open_submit(prompt=f"{turn}", instant_response=True) for turn in range(12)]
    assert len(emulator.await_ledger("answer", 12)) == 12
    stop.set()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    for connection in held:
        assert b"processing" not in read_to_the_end(connection)
