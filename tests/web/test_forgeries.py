"""Callbacks that lie (reliability.md, H12 to H18), read by the real adapter: forged ones are a 404 that tells nothing,
genuine ones with hostile bodies are on record and do no harm."""

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from sqlalchemy import Row, select

from tests.web.conftest import Api
from webhook_app.domain.ids import new_track_id
from webhook_app.domain.tokens import TOKEN_BYTES, Tokens
from webhook_app.store.tables import Attempt, Callback, EventRow, Image, Job

KNOWN = "https://cdn.modelslab.com"
DEEP = b"[" * 100_000 + b"]" * 100_000
HOSTILE = {
    "nothing": b"",
    "not JSON": b"hello",
    "100,000 deep": DEEP,
    "100,000 deep in a member": b'{"status": "success", "output": ' + DEEP + b"}",
    "1e400": b'{"status": "processing", "eta": 1e400}',
    "NaN": b'{"status": "processing", "eta": NaN}',
    "5,000 digits": b'{"status": "processing", "id": ' + b"9" * 5_000 + b"}",
    "byte order mark": b'\xef\xbb\xbf{"status": "processing"}',
    "trailing bytes": b'{"status": "processing"} trailing',
    "a member twice": b'{"status": "success", "status": "processing"}',
    "an array": b"[1, 2]",
    "a text": b'"success"',
    "null": b"null",
    "invalid UTF-8": b'{"status": "processing", "message": "\xc3\x28"}',
    "overlong": b'{"status": "processing", "message": "\xc0\xaf"}',
    "NUL": b'{"status": "processing", "id": "a\\u0000b", "message": "\\u0000"}',
    "a lone surrogate": b'{"status": "processing", "id": "\\ud800", "message": "\\ud800"}',
    "raw zeros": b"\x00" * 1_000,
    "wrong types": b'{"status": 7, "id": {}, "output": {"a": []}, "meta": "x", "eta": []}',
    "large numbers": b'{"status": "processing", "id": 1e308, "eta": 9223372036854775808}',
    "HTML": b"<html><body>502 Bad Gateway</body></html>",
}


def running(api: Api, *, samples: int) -> str:
    """A job that is with the provider, with so many pictures to come."""
    made = api.submit(input={"samples": samples})
    now = datetime.now(UTC)
    api.change_job(made, status="processing", attempt=1, spent=1, submitted_at=now, waiting_for="callback")
    api.add(Attempt, track_id=made, n=1, sent_at=now, evidence="running", provider_job_id="7")
    return made


@pytest.fixture
def track_id(api: Api) -> str:
    return running(api, samples=2)


def address(api: Api, track_id: str, attempt: int = 1) -> str:
    return f"/callbacks/modelslab/{track_id}/{api.parts.tokens.callback('modelslab', track_id, attempt)}"


def tell(api: Api, track_id: str, body: Any, attempt: int = 1) -> int:
    """POST a callback; returns the HTTP status."""
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return api.http.post(address(api, track_id, attempt), data=raw, content_type="application/json").status_code


def rows(api: Api, table: Any, track_id: str) -> list[Row[Any]]:
    with api.parts.store.reading() as connection:
        return list(connection.execute(select(table.__table__).where(table.track_id == track_id)))


def everything(api: Api) -> list[Row[Any]]:
    with api.parts.store.reading() as connection:
        tables = (Job, Attempt, Image, Callback, EventRow)
        return [row for table in tables for row in connection.execute(select(table.__table__))]


def test_whatever_comes_with_a_good_token_is_200_raw_on_record_and_ends_nothing(api: Api, track_id: str) -> None:
    for name, body in HOSTILE.items():
        assert tell(api, track_id, body) == 200, name
    kept = rows(api, Callback, track_id)
    assert {bytes(row.body) for row in kept} == set(HOSTILE.values())
    assert all(row.applied_at and row.verdict for row in kept)
    assert rows(api, Job, track_id)[0].status == "processing"


def test_every_forged_callback_is_the_same_404_and_changes_nothing(api: Api, track_id: str) -> None:
    tokens = api.parts.tokens
    mine, other = new_track_id(), api.submit("another")
    good = tokens.callback("modelslab", track_id, 1)
    forged = {
        "no token": f"modelslab/{track_id}/",
        "nothing but a number": f"modelslab/{track_id}/1.",
        "wrong token": f"modelslab/{track_id}/1.{'A' * 22}",
        "another job's token": f"modelslab/{track_id}/{tokens.callback('modelslab', other, 1)}",
        "another attempt's number": f"modelslab/{track_id}/2.{good.partition('.')[2]}",
        "right token, wrong track_id": f"modelslab/{other}/{good}",
        "right token, unknown track_id": f"modelslab/{mine}/{good}",
        "a secret of somebody else": f"modelslab/{track_id}/{Tokens(('x',)).callback('modelslab', track_id, 1)}",
        "another provider": f"fal/{track_id}/{good}",
    }
    before = everything(api)
    body = orjson.dumps({"status": "success", "id": 7, "track_id": track_id, "output": [f"{KNOWN}/a.png"]})
    seen = {}
    for name, place in forged.items():
        answer = api.http.post(f"/callbacks/{place}", data=body, content_type="application/json")
        headers = {key: value for key, value in answer.headers.items() if key not in ("X-Request-Id", "Content-Length")}
        shown = {key: value for key, value in answer.json.items() if key not in ("request_id", "instance")}
        seen[name] = (answer.status_code, headers, shown)
    assert all(answer == seen["wrong token"] for answer in seen.values()), seen
    assert seen["wrong token"][0] == 404
    assert everything(api) == before


def test_a_genuine_callback_again_and_again_after_the_end_only_counts(api: Api, track_id: str) -> None:
    body = {"status": "success", "id": 7, "track_id": track_id, "output": [f"{KNOWN}/0.png", f"{KNOWN}/1.png"]}
    assert tell(api, track_id, body) == 200
    before = [row for table in (Job, Attempt, Image, EventRow) for row in rows(api, table, track_id)]
    assert {tell(api, track_id, body) for _ in range(10)} == {200}
    assert [row for table in (Job, Attempt, Image, EventRow) for row in rows(api, table, track_id)] == before
    (kept,) = rows(api, Callback, track_id)
    assert (kept.times_seen, kept.verdict) == (11, "applied")


def test_ten_doubles_of_five_callbacks_fifty_at_once_are_five_ends(api: Api) -> None:
    jobs = [running(api, samples=1) for _ in range(5)]
    bodies = {job: {"status": "success", "id": 7, "track_id": job, "output": [f"{KNOWN}/{job}.png"]} for job in jobs}

    def one(job: str) -> int:
        return api.http.application.test_client().post(address(api, job), data=orjson.dumps(bodies[job])).status_code

    with ThreadPoolExecutor(50) as pool:
        assert set(pool.map(one, jobs * 10)) == {200}
    for job in jobs:
        assert [row.times_seen for row in rows(api, Callback, job)] == [10]
        types = [event.type for event in rows(api, EventRow, job)]
        assert (types.count("job.succeeded"), types.count("callback.received")) == (1, 1)
        assert [image.sources for image in rows(api, Image, job)] == [[f"{KNOWN}/{job}.png"]]


def test_tokens_are_too_long_to_guess() -> None:
    token = Tokens(("secret",)).callback("modelslab", new_track_id(), 1)
    assert TOKEN_BYTES * 8 == 128
    assert len(token.partition(".")[2]) == 22


NO_PICTURES = [
    "javascript:alert(1)",
    "file:///etc/passwd",
    "ftp://cdn.modelslab.com/a.png",
    "gopher://cdn.modelslab.com/",
    "https://user:word@cdn.modelslab.com/a.png",
    "https://cdn.modelslab.com\\@evil.example/a.png",
    "//cdn.modelslab.com/a.png",
    "https:///a.png",
    "data:text/html;base64,PHNjcmlwdD4=",
    "https://cdn.modelslab.com/a\r\nHost: evil.example",
    " ",
]


def test_an_output_that_is_no_picture_s_address_is_no_result(api: Api, track_id: str) -> None:
    for bad in NO_PICTURES:
        said = {"status": "success", "id": 7, "track_id": track_id, "output": [bad], "proxy_links": [bad]}
        assert tell(api, track_id, said) == 200
        assert rows(api, Job, track_id)[0].status == "processing", bad
    assert [image.sources for image in rows(api, Image, track_id)] == [[], []]
    assert {row.problem for row in rows(api, Callback, track_id)} == {"a success without usable pictures"}


def test_an_output_at_another_host_waits_with_an_alarm_and_is_asked_about(api: Api, track_id: str) -> None:
    outputs = ["https://evil.example/0.png", "https://cdn.modelslab.com.evil.example/1.png"]
    assert tell(api, track_id, {"status": "success", "id": 7, "track_id": track_id, "output": outputs}) == 200
    images = rows(api, Image, track_id)
    assert {(image.status, image.reason) for image in images} == {("pending", "host_not_allowed")}
    assert [event.type for event in rows(api, EventRow, track_id)].count("image.host_refused") == 2
    assert rows(api, Attempt, track_id)[0].poll_at is not None
    answer = api.http.get(f"/images/{images[0].image_id}.png")
    assert (answer.status_code, answer.headers.get("Location")) == (503, None)


def test_ten_thousand_outputs_are_as_many_pictures_as_were_asked(api: Api, track_id: str) -> None:
    outputs = [f"{KNOWN}/{n}.png" for n in range(10_000)]
    assert tell(api, track_id, {"status": "success", "id": 7, "track_id": track_id, "output": outputs}) == 200
    assert rows(api, Job, track_id)[0].status == "succeeded"
    found = {image.index: image.sources for image in rows(api, Image, track_id)}
    assert found == {0: [f"{KNOWN}/0.png"], 1: [f"{KNOWN}/1.png"]}


def welch(first: list[int], second: list[int]) -> float:
    """Welch's t of two samples."""
    spread = statistics.variance(first) / len(first) + statistics.variance(second) / len(second)
    return abs(statistics.fmean(first) - statistics.fmean(second)) / spread**0.5


@pytest.mark.long
def test_the_time_of_a_check_tells_nothing_about_the_token() -> None:
    tokens, track_id = Tokens(("secret",)), new_track_id()
    number, _, mac = tokens.callback("modelslab", track_id, 1).partition(".")
    # Wrong in the first character, or only in the last but one.
    candidates = [f"{number}.{'A' if mac[0] != 'A' else 'B'}{mac[1:]}", f"{number}.{mac[:-2]}{'AB'[mac[-2] == 'A']}A"]
    samples: list[list[int]] = [[], []]

    def timed(check: Callable[[], object]) -> int:
        started = time.perf_counter_ns()
        check()
        return time.perf_counter_ns() - started

    for n in range(20_000):
        which = n % 2
        samples[which].append(
            timed(lambda which=which: tokens.check_callback("modelslab", track_id, candidates[which]))
        )
    # The slowest hundredth is the machine's, not the code's.
    kept = [sorted(sample)[:9_900] for sample in samples]
    assert welch(*kept) < 4.5
