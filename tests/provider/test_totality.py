"""Whatever bytes come, reading gives a value that both databases can store; the API key is never part of it."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook_app.domain.outcome import CallbackReading, Failed, Finished
from webhook_app.provider.modelslab.body import read_form, read_object
from webhook_app.provider.modelslab.wire import read_callback, read_fetch, read_submit

KEY = "CANARY-0123456789"
MEMBERS = [
    "status",
    "id",
    "request_id",
    "track_id",
    "output",
    "proxy_links",
    "links",
    "future_links",
    "message",
    "messege",
    "error",
    "tip",
    "eta",
    "meta",
    "generationTime",
    "nsfw_content_detected",
    "fetch_result",
    "retry_after",
    "seed",
    "key",
]
STATUSES = st.sampled_from(["success", "ready", "processing", "queued", "failed", "error", "ok"])
URLS = st.sampled_from(["https://cdn.modelslab.com/a.png", "https://", "data:image/png;base64,iVBORw0K", "/9j/4A", ""])

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(codec=None), max_size=30)  # lone surrogates and NUL as well
    | URLS
    | st.just(KEY)
)
values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=4) | st.dictionaries(st.sampled_from(MEMBERS) | st.text(), v, max_size=4)
)
answers = st.fixed_dictionaries({"status": STATUSES | values}, optional=dict.fromkeys(MEMBERS[1:], values))

HARD = [
    b"",
    b" ",
    b"null",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"[" * 1_000 + b"]" * 1_000,
    b'{"status": "success", "eta": NaN, "id": Infinity}',
    b'{"status": "failed", "id": 1e400}',
    b'{"status": "failed", "id": ' + b"9" * 5_000 + b"}",
    b'\xef\xbb\xbf{"status": "failed"}',
    b'{"status": "failed"} trailing',
    b'{"status": "failed", "status": "success"}',
    b'{"status": "failed", "message": "\xff\xfe\xc0\x80"}',
    b'{"status": "failed", "message": "\\ud800\\u0000"}',
    b'{"status": {"status": "success"}}',
    b'{"status": "success", "output": {"output": {"0": {}}}, "meta": []}',
    b"status=failed&" + b"a=b&" * 2_000,
    b"\x00" * 100,
    b"<html>502</html>",
]


def check(value: Any) -> None:
    """Storable in both databases as it stands, and without the key."""
    text = orjson.dumps(value, default=lambda o: [str(o)]).decode()
    assert "\\u0000" not in text
    assert KEY not in text
    assert KEY not in repr(value)


def read_all(body: bytes, http_status: int = 200, content_type: str | None = None) -> None:
    headers = {"Retry-After": "\x00", "Date": "?"}
    check(read_submit(http_status, headers, body, secret=KEY))
    check(read_fetch(http_status, body, secret=KEY))
    check(read_callback(body, content_type, secret=KEY))


@pytest.mark.parametrize("body", HARD, ids=lambda body: repr(body[:24]))
@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded"])
def test_hard_bodies_are_read_without_an_exception(body: bytes, content_type: str) -> None:
    read_all(body, content_type=content_type)


@given(st.binary(max_size=300), st.integers(100, 599), st.sampled_from([None, "application/x-www-form-urlencoded"]))
def test_any_bytes_give_a_value(body: bytes, http_status: int, content_type: str | None) -> None:
    read_all(body, http_status, content_type)


@given(answers | values, st.integers(100, 599))
def test_any_json_gives_a_value(answer: Any, http_status: int) -> None:
    read_all(json.dumps(answer).encode(), http_status)


@given(answers)
def test_what_is_read_stays_within_bounds(answer: dict[str, Any]) -> None:
    outcome = read_submit(200, {}, json.dumps(answer).encode())
    if isinstance(outcome, Finished):
        assert 0 < len(outcome.pictures) <= 10
        assert all(picture.sources for picture in outcome.pictures)
        assert outcome.seed is None or 0 <= outcome.seed < 2**63
        assert len(orjson.dumps(outcome.meta)) <= 4200


def test_of_doubled_members_the_last_one_counts() -> None:
    assert read_callback(b'{"status": "failed", "status": "processing"}').outcome is not None


def test_long_messages_are_cut_to_a_thousand_characters() -> None:
    body = json.dumps({"status": "failed", "message": "x" * 100_000}).encode()
    outcome = read_callback(body).outcome
    assert isinstance(outcome, Failed)
    assert len(outcome.message) == 1000


def test_an_id_that_climbs_in_a_path_is_none() -> None:
    for bad in ("..", ".", "", " ", "x" * 192, True, [], {}, 1.5, 1e30):
        outcome = read_callback(json.dumps({"status": "failed", "message": "no", "id": bad}).encode()).outcome
        assert isinstance(outcome, Failed)
        assert outcome.provider_job_id is None


def test_digits_that_come_back_as_a_number_are_the_same_track_id() -> None:
    assert read_callback(b'{"status": "processing", "track_id": 3422}') == read_callback(
        b'{"status": "processing", "track_id": "3422"}'
    )
    assert read_callback(b'{"status": "processing", "track_id": ""}').names_track_id is None


def test_a_short_key_is_not_cut_out_of_ordinary_words() -> None:
    assert read_object(b'{"status": "a test"}', secret="test") == {"status": "a test"}


def test_forms_of_php_become_lists_and_objects() -> None:
    form = read_form(b"status=success&output[0]=a&output[1]=b&proxy_links[]=c&meta[seed]=5&meta[]=x&eta=")
    assert form == {
        "status": "success",
        "output": ["a", "b"],
        "proxy_links": ["c"],
        "meta": {"seed": "5"},
        "eta": "",
    }


def test_a_reading_of_a_broken_body_says_why() -> None:
    assert read_callback(b"") == CallbackReading(None, None, "the body is empty")
