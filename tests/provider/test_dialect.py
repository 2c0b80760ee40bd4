"""Every body of the contract page and what it means; the tables are in dialect.py."""

from dataclasses import replace
from typing import Any

import pytest

from tests.provider import dialect
from webhook_app.domain.outcome import CallbackReading, Finished, Later, PollAnswer, Running, SubmitAnswer, Unread
from webhook_app.provider.modelslab.wire import read_callback, read_fetch, read_submit

KEY = "CANARY-0123456789"
OURS = "0192f3c4-5d6e-7f80-9a1b-2c3d4e5f6071"
FORM = "application/x-www-form-urlencoded"


def body(name: str) -> bytes:
    return (dialect.FIXTURES / name).read_bytes()


def without_meta(outcome: Any) -> Any:
    return replace(outcome, meta={}) if isinstance(outcome, Finished) else outcome


@pytest.mark.parametrize("http_status", [200, 503])
@pytest.mark.parametrize(("name", "expected"), dialect.SUBMITS.items())
def test_a_submit_answer_with_a_status_is_believed(name: str, expected: SubmitAnswer, http_status: int) -> None:
    assert without_meta(read_submit(http_status, {}, body(name))) == expected


@pytest.mark.parametrize(("name", "http_status", "expected"), dialect.SUBMITS_BY_HTTP)
def test_the_http_status_decides_where_the_body_does_not(name: str, http_status: int, expected: SubmitAnswer) -> None:
    assert read_submit(http_status, {}, body(name)) == expected


@pytest.mark.parametrize(("name", "expected"), dialect.CALLBACKS.items())
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", FORM, None])
def test_a_callback_is_read_whatever_its_content_type(
    name: str, expected: CallbackReading, content_type: str | None
) -> None:
    if name == "callback_form_one_field.txt":
        content_type = FORM
    reading = read_callback(body(name), content_type)
    if name in ("bad_gateway.html", "callback_array.json", "callback_text.json"):
        assert reading.outcome is None
        assert reading.problem
        return
    assert replace(reading, outcome=without_meta(reading.outcome)) == expected


@pytest.mark.parametrize(("name", "http_status", "expected"), dialect.FETCHES)
def test_a_fetch_answer_tells_about_the_job_or_nothing(name: str, http_status: int, expected: PollAnswer) -> None:
    assert without_meta(read_fetch(http_status, body(name))) == expected


@pytest.mark.parametrize("name", ["fetch_success.json", "fetch_success_proxy_links.json", "failed_with_int_id.json"])
def test_a_fetch_answer_about_another_job_tells_nothing(name: str) -> None:
    named = read_fetch(200, body(name)).provider_job_id  # type: ignore[union-attr]
    assert read_fetch(200, body(name), asked=(named, OURS)) == read_fetch(200, body(name))
    assert read_fetch(200, body(name), asked=("1", OURS)) == Unread("the answer is about another job")


@pytest.mark.parametrize("name", ["fetch_processing.json", "fetch_failed_message.json"])
def test_a_fetch_answer_without_an_id_is_about_the_job_that_was_asked_for(name: str) -> None:
    assert read_fetch(200, body(name), asked=("1", OURS)) == read_fetch(200, body(name))


@pytest.mark.parametrize("place", ['"track_id": %s', '"meta": {"track_id": %s}'])
def test_a_fetch_answer_with_another_track_id_tells_nothing(place: str) -> None:
    for named, another in ((f'"{OURS}"', False), (f'"{OURS.upper()}"', False), ('"order-7"', True), ("3422", True)):
        answer = '{"status": "processing", "id": 12, %s}' % (place % named)
        assert isinstance(read_fetch(200, answer.encode(), asked=("12", OURS)), Unread) is another


def test_one_of_several_ids_is_enough() -> None:
    answer = b'{"status": "processing", "id": 12, "request_id": "ab-1", "meta": {"id": 13}}'
    for asked in ("12", "ab-1", "13"):
        assert read_fetch(200, answer, asked=(asked, OURS)) == Running("12")


def test_every_fixture_is_a_row_of_a_table() -> None:
    rows = {name for name, *_ in [*dialect.SUBMITS_BY_HTTP, *dialect.FETCHES]}
    files = {path.name for path in dialect.FIXTURES.iterdir()}
    assert files == rows | set(dialect.SUBMITS) | set(dialect.CALLBACKS)


def test_the_echo_of_the_parameters_is_kept_small_and_without_what_is_ours() -> None:
    answer = read_submit(200, {}, body("meta_echoes_ours.json"), secret=KEY)
    assert isinstance(answer, Finished)
    assert answer.meta == {"seed": 5, "model_id": "flux", "note": "[key]"}


def test_the_seed_page_s_meta_survives_without_the_prompt() -> None:
    answer = read_submit(200, {}, body("submit_success_without_id.json"))
    assert isinstance(answer, Finished)
    assert answer.meta["guidance_scale"] == 3.5
    assert answer.meta["clip_skip"] is None
    assert "prompt" not in answer.meta


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", "Date": "Wed, 21 Oct 2026 07:27:30 GMT"}, 30.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({}, None),
    ],
)
def test_the_header_names_the_pause_where_the_body_does_not(headers: dict[str, str], seconds: float | None) -> None:
    for name in ("error_observed_rate_limit.json", "not_found.html"):
        answer = read_submit(429, headers, body(name))
        assert isinstance(answer, Later)
        assert answer.retry_after_s == seconds


def test_the_body_s_own_pause_wins() -> None:
    answer = read_submit(429, {"Retry-After": "7"}, body("error_queue_full.json"))
    assert isinstance(answer, Later)
    assert answer.retry_after_s == 30.0
