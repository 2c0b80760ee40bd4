"""What is sent: real booleans, real numbers, and our three members."""

import json

import pytest

from webhook_app.provider.modelslab.request import build_request, encode, fetch_url, submit_url
from webhook_app.provider.port import Submission

BASE = "https://modelslab.com/api/v1/enterprise"


def submission(callback_url: str | None = "https://us.example/cb", **asked: object) -> Submission:
    return Submission("t-1", "flux/text2img", asked, callback_url)


def test_texts_of_numbers_and_switches_become_numbers_and_booleans() -> None:
    asked = submission(
        prompt="a cat", width="512", height=768, samples="1", seed="3415551529", safety_checker="no", base64="yes"
    )
    assert build_request("k", asked) == {
        "key": "k",
        "instant_response": True,
        "prompt": "a cat",
        "width": 512,
        "height": 768,
        "samples": 1,
        "seed": 3415551529,
        "safety_checker": False,
        "base64": True,
        "track_id": "t-1",
        "webhook": "https://us.example/cb",
    }


@pytest.mark.parametrize(("given", "sent"), [(None, True), (False, False), ("no", False), (True, True)])
def test_an_answer_at_once_is_asked_for_unless_told_otherwise(given: object, sent: bool) -> None:
    assert build_request("k", submission(prompt="p", instant_response=given))["instant_response"] is sent


def test_without_a_callback_url_no_webhook_is_named() -> None:
    assert "webhook" not in build_request("k", submission(None, prompt="p"))


def test_a_job_s_input_cannot_overwrite_our_members() -> None:
    body = build_request("k", submission(prompt="p", key="x", webhook="y", track_id="z"))
    assert (body["key"], body["webhook"], body["track_id"]) == ("k", "https://us.example/cb", "t-1")


def test_any_prompt_is_valid_json_in_ascii() -> None:
    prompt = "naïve 🐈 \ud800 \u202e"
    assert json.loads(encode(build_request("k", submission(prompt=prompt))))["prompt"] == prompt
    assert encode({"prompt": prompt}).isascii()


def test_the_addresses_follow_the_model_s_family() -> None:
    assert submit_url(BASE + "/", "flux/img2img") == f"{BASE}/flux/img2img"
    assert fetch_url(BASE, "flux/img2img", "134932313") == f"{BASE}/flux/fetch/134932313"
    assert fetch_url(BASE, "flux/text2img", "a/../b?c") == f"{BASE}/flux/fetch/a%2F..%2Fb%3Fc"
