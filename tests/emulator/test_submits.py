"""The answers to submits and fetches, against the shapes of the provider's pages."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

SEED_PAGE_META = {
    "base64", "clip_skip", "file_prefix", "guidance_scale", "height", "instant_response", "model_id", "n_samples",
    "negative_prompt", "num_inference_steps", "opacity", "output_type", "padding_down", "padding_right", "prompt",
    "rescale", "scale_down", "seed", "temp", "watermark", "width",
}  # fmt: skip


def test_a_quick_picture_is_answered_in_the_seed_pages_shape_without_an_id(start):
    emulator = start()
    body = emulator.submit(width="768", height="1024", samples="2", seed=None, instant_response=False).json()
    assert set(body) == {"status", "generationTime", "output", "meta"}
    assert body["status"] == "success"
    assert set(body["meta"]) == SEED_PAGE_META
    assert (body["meta"]["width"], body["meta"]["height"], body["meta"]["n_samples"]) == (768, 1024, 2)
    assert body["meta"]["base64"] == body["meta"]["instant_response"] == "no"
    prefix = body["meta"]["file_prefix"]
    assert body["output"] == [f"{emulator.url}/generations/{prefix}-{index}.png" for index in (0, 1)]


def test_an_instant_response_is_processing_with_everything_needed_to_fetch(start):
    emulator = start(delay_s=60)
    body = emulator.submit(instant_response="yes", track_id="job-1", webhook="http://127.0.0.1:9/x", seed=7).json()
    assert set(body) == {
        "status", "tip", "eta", "message", "fetch_result", "id", "output", "future_links", "proxy_links", "meta",
    }  # fmt: skip
    assert (body["status"], body["output"], body["proxy_links"]) == ("processing", [], [])
    assert type(body["id"]) is int
    assert 50 <= body["eta"] <= 60
    assert body["fetch_result"] == f"{emulator.url}/api/v1/enterprise/flux/fetch/{body['id']}"
    assert body["meta"]["id"] == str(body["id"])
    assert (body["meta"]["track_id"], body["meta"]["webhook"]) == ("job-1", "http://127.0.0.1:9/x")
    assert (body["meta"]["seed"], body["meta"]["instant_response"]) == (7, "yes")
    assert emulator.get(body["future_links"][0]).status_code == 404


def test_a_slow_picture_turns_into_processing_after_the_wait(start):
    body = start(delay_s=60, wait_s=0.05).submit().json()
    assert body["status"] == "processing"


def test_a_fetch_is_thin_while_processing_and_when_done(start):
    emulator = start(submit_form="processing", delay_s=60)
    waiting = emulator.submit().json()
    thin = emulator.fetch(waiting["id"])
    assert set(thin) == {"status", "message", "output", "tip"}
    assert (thin["status"], thin["message"], thin["output"]) == ("processing", "try again later.", "")
    emulator.post("/_emulator/config", {"delay_s": 0, "submit_form": "success_int_id"})
    done = emulator.submit().json()
    assert emulator.fetch(done["id"]) == {
        "status": "success", "id": done["id"], "output": done["output"], "proxy_links": done["output"],
    }  # fmt: skip


def test_the_public_aliases_answer_alike_and_fetch_by_request_id(start):
    emulator = start(submit_form="processing")
    body = emulator.post("/api/v6/images/text2img", {"key": "k", "prompt": "x", "model_id": "flux"}).json()
    assert body["fetch_result"] == f"{emulator.url}/api/v6/images/fetch/{body['id']}"
    by_body = emulator.post("/api/v6/images/fetch", {"key": "k", "request_id": str(body["id"])}).json()
    by_path = emulator.post(f"/api/v6/images/fetch/{body['id']}", {"key": "k"}).json()
    assert {by_body["status"], by_path["status"]} <= {"processing", "success"}


def test_an_unknown_id_is_an_error_with_http_200(start):
    emulator = start()
    answer = emulator.post("/api/v1/enterprise/flux/fetch/12", {"key": "k"})
    assert (answer.status_code, answer.json()["status"]) == (200, "error")


@pytest.mark.parametrize(("form", "expected"), [("success_null_id", type(None)), ("success_int_id", int)])
def test_a_success_can_carry_a_null_or_a_number_as_id(start, form, expected):
    body = start(submit_form=form).submit(instant_response=True).json()
    assert body["status"] == "success"
    assert type(body["id"]) is expected
    assert body["nsfw_content_detected"] is False
    assert body["proxy_links"] == body["output"]


def test_a_failed_submit_is_http_200_in_both_styles(start):
    for style in ("http", "legacy"):
        answer = start(submit_form="failed", error_style=style).submit()
        assert answer.status_code == 200
        assert answer.json() == {"status": "failed", "id": "", "messege": "Failed, Try Again", "output": ""}


def test_an_accepted_job_can_fail_later(start):
    emulator = start(ending="failed", submit_form="processing")
    job = emulator.submit(webhook="http://127.0.0.1:9/nobody").json()
    emulator.await_ledger("callback", 1)
    body = emulator.fetch(job["id"])
    assert body == {"status": "failed", "id": "", "message": "Failed, Try Again", "output": ""}


def test_image_to_image_echoes_its_image_and_strength(start):
    emulator = start()
    body = {"key": "k", "prompt": "x", "init_image": "https://example.com/in.png", "temp": True}
    answer = emulator.post("/api/v1/enterprise/flux/img2img", body).json()
    assert answer["meta"]["init_image"] == "https://example.com/in.png"
    assert (answer["meta"]["strength"], answer["meta"]["safety_checker"], answer["meta"]["temp"]) == (0.7, "no", "yes")
    assert "/temp/" in answer["output"][0]
    assert emulator.get(answer["output"][0]).status_code == 200


def test_json_is_written_as_php_writes_it(start):
    answer = start().submit(prompt="café / bar")
    assert "caf\\u00e9 \\/ bar" in answer.text
    assert "http:\\/\\/127.0.0.1" in answer.text
    assert answer.json()["meta"]["prompt"] == "café / bar"


def test_the_server_operations_answer_their_documented_bodies(start):
    emulator = start(delay_s=60)
    job = emulator.submit(instant_response=True).json()
    details = emulator.post("/api/v1/enterprise/flux/system_details", {"key": "k"}).json()
    assert details["status"] == "ok"
    assert 50 <= details["queue_time"] <= 60
    cleared = emulator.post("/api/v1/enterprise/flux/clear_queue", {"key": "k"}).json()
    assert cleared == {"status": "success", "message": "Queue cleared, server is restarting"}
    assert emulator.post("/api/v1/enterprise/flux/system_details", {"key": "k"}).json()["queue_time"] == 0
    assert emulator.fetch(job["id"])["status"] == "processing"


def test_jobs_beyond_the_gpus_wait_their_turn(start):
    emulator = start(delay_s=30, parallel=2)
    etas = [emulator.submit(instant_response=True).json()["eta"] for _ in range(5)]
    assert [round(eta / 30) for eta in etas] == [1, 1, 2, 2, 3]


def test_thirty_two_clients_at_once_are_all_served(start, receiver):
    emulator = start(delay_s=0.05, parallel=32)
    url, hook = emulator.url, receiver.url

    def client(number: int) -> str:
        one = type(emulator)(url)
        body = one.submit(prompt=f"client {number}", width=256, height=256, webhook=hook, track_id=f"t{number}").json()
        return one.get(body["output"][0]).headers["Content-Type"]

    with ThreadPoolExecutor(32) as pool:
        assert set(pool.map(client, range(64))) == {"image/png"}
    assert {receiver.next()["track_id"] for _ in range(64)} == {f"t{number}" for number in range(64)}


def test_the_queue_limit_answers_429_and_tells_when_to_come_back(start):
    emulator = start(delay_s=60, max_queued=2, retry_after_s=17)
    assert [emulator.submit(instant_response=True).status_code for _ in range(3)] == [200, 200, 429]
    body = emulator.submit().json()
    assert body["message"] == "Rate limit exceeded. Maximum 2 queued requests allowed."
    assert body["retry_after"] == 17
    emulator.post("/_emulator/config", {"error_style": "legacy"})
    legacy = emulator.submit()
    assert (legacy.status_code, legacy.json()["messege"]) == (200, "Rate limit exceeded")


REFUSED = [
    ({"key": ""}, 401, "API key required"),
    ({"key": "wrong"}, 401, "Invalid API key"),
    ({"prompt": ""}, 400, "prompt is required"),
    ({"prompt": None}, 400, "prompt is required"),
    ({"prompt": 5}, 400, "prompt must be a string"),
    ({"width": 248}, 400, "width must be between 256 and 1024"),
    ({"height": "1032"}, 400, "height must be between 256 and 1024"),
    ({"height": 513}, 400, "height must be divisible by 8"),
    ({"width": "wide"}, 400, "width must be an integer"),
    ({"samples": 5}, 400, "samples must be between 1 and 4"),
    ({"samples": 0}, 400, "samples must be between 1 and 4"),
]


@pytest.mark.parametrize(("members", "code", "message"), REFUSED)
def test_a_wrong_body_is_refused_in_both_styles(start, members, code, message):
    emulator = start(key="right")
    body = {"key": "right", "prompt": "x", **members}
    answer = emulator.post("/api/v1/enterprise/flux/text2img", body)
    assert (answer.status_code, answer.json()) == (code, {"status": "error", "message": message})
    emulator.post("/_emulator/config", {"error_style": "legacy"})
    legacy = emulator.post("/api/v1/enterprise/flux/text2img", body)
    assert (legacy.status_code, legacy.json()["status"]) == (200, "error")
    if code == 401:
        assert legacy.json()["messege"] == "Invalid Api Key"
    else:
        field = next(iter(members))
        assert re.match(rf"The {field} field .+\.", legacy.json()["message"][field][0])


def test_the_error_form_is_a_500_or_a_legacy_try_again(start):
    emulator = start(submit_form="error")
    answer = emulator.submit()
    assert (answer.status_code, answer.json()["message"]) == (500, "Internal server error. Please try again.")
    emulator.post("/_emulator/config", {"error_style": "legacy"})
    assert emulator.submit().json() == {"status": "error", "messege": "try again"}


def test_a_body_that_is_no_json_object_lacks_its_key(start):
    emulator = start()
    for sent in (b"", b"[1]", b"{", b"\xff"):
        answer = emulator.http.post(f"{emulator.url}/api/v1/enterprise/flux/text2img", data=sent, timeout=10)
        assert (answer.status_code, answer.json()["message"]) == (401, "API key required")
