"""`GET /v1/events/stream`: server-sent events that lose nothing, and cost nobody else anything."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import orjson
import pytest
import requests

from tests.served import Served, app, parts, served
from tests.web.conftest import Api, key_for
from tests.web.test_feed import submitted
from webhook_app.domain.job import Scope
from webhook_app.web import stream as streams
from webhook_app.web.waiting import Waiting

__all__ = ["app", "parts", "served"]

PATIENCE_S = 20.0


@dataclass
class Told:
    id: int
    event: str
    data: dict[str, object]


class Reader:
    """What a reader makes of a stream: a mapping for each block."""

    def __init__(self, response: requests.Response) -> None:
        self.response = response
        self.blocks = self._blocks()

    def _blocks(self) -> Iterator[dict[str, str]]:
        block: dict[str, str] = {}
        for line in self.response.iter_lines(chunk_size=1, decode_unicode=True):
            if line:
                name, _, value = line.partition(":")
                block[name] = value.strip()
            elif block:
                yield block
                block = {}

    def told(self, count: int) -> list[Told]:
        found: list[Told] = []
        while len(found) < count:
            block = next(self.blocks)
            if "data" in block:
                found.append(Told(int(block["id"]), block["event"], orjson.loads(block["data"])))
        return found


@contextmanager
def following(served: Served, query: str = "", **headers: str) -> Iterator[Reader]:
    sent = {"Authorization": f"Bearer {served.key}"} | {name.replace("_", "-"): text for name, text in headers.items()}
    url = f"{served.url}/v1/events/stream{query}"
    with requests.get(url, headers=sent, stream=True, timeout=PATIENCE_S) as response:
        yield Reader(response)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def stranger(served: Served) -> Api:
    parts = served.api.parts
    return Api(served.api.http, parts, key_for(parts, "other", Scope.SUBMIT, Scope.READ), "other")


def waiting_in(served: Served) -> Waiting:
    found: Waiting = served.api.http.application.extensions["waiting"]
    return found


def test_a_stream_begins_now_and_tells_each_event_with_its_number(served: Served) -> None:
    submitted(served.api, 2)
    with following(served) as reader:
        assert reader.response.headers["Content-Type"].startswith("text/event-stream")
        assert reader.response.headers["Cache-Control"] == "no-store"
        assert next(reader.blocks) == {"retry": "1000"}
        (track_id,) = submitted(served.api)
        (event,) = reader.told(1)
    assert (event.id, event.event) == (3, "job.queued")
    assert event.data == served.api.get(f"/v1/jobs/{track_id}/events").json["data"][0]


def test_coming_back_with_the_last_id_loses_nothing(served: Served) -> None:
    submitted(served.api, 5)
    with following(served, Last_Event_ID="2") as reader:
        assert [event.id for event in reader.told(2)] == [3, 4]
    submitted(served.api, 3)
    with following(served, Last_Event_ID="4") as reader:
        assert [event.id for event in reader.told(4)] == [5, 6, 7, 8]
    with following(served, query="?after=7") as reader:
        assert [event.id for event in reader.told(1)] == [8]


def test_a_last_id_that_is_none_is_refused(served: Served) -> None:
    with following(served, Last_Event_ID="evt_1") as reader:
        assert reader.response.status_code == 422
        assert reader.response.json()["errors"][0]["pointer"] == "/Last-Event-ID"
    with following(served, Last_Event_ID="7") as reader:
        assert (reader.response.status_code, reader.response.json()["code"]) == (409, "cursor_ahead")


def test_a_client_is_told_its_own_events_alone(served: Served, stranger: Api) -> None:
    with following(served) as reader:
        next(reader.blocks)
        submitted(stranger, 2)
        submitted(served.api)
        submitted(stranger)
        submitted(served.api)
        assert [event.id for event in reader.told(2)] == [3, 5]


def test_a_silent_stream_is_kept_alive_and_its_place_moves_on(
    served: Served, stranger: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "KEEP_ALIVE_S", 0.3)
    submitted(served.api)
    with following(served) as reader:
        found = reader.blocks
        next(found)
        submitted(stranger, 2)
        silent = [next(found) for _ in range(4)]
    assert all("data" not in block for block in silent)
    assert silent[-1]["id"] == "3"


def test_a_stream_ends_in_time_and_when_the_process_stops(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LASTS_S", 0.0)
    with following(served) as reader:
        assert list(reader.blocks) == [{"retry": "1000"}]
    monkeypatch.setattr(streams, "LASTS_S", 900.0)
    with following(served) as reader:
        found = reader.blocks
        next(found)
        waiting_in(served).drain()
        assert all("data" not in block for block in found)


def test_a_reader_that_leaves_gives_its_place_back(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "KEEP_ALIVE_S", 0.1)
    waiting = waiting_in(served)
    with following(served) as reader:
        next(reader.blocks)
        assert waiting.count == 1
    until(lambda: waiting.count == 0)


def test_asking_for_the_head_of_a_stream_takes_no_place(served: Served) -> None:
    answer = requests.head(
        f"{served.url}/v1/events/stream", headers={"Authorization": f"Bearer {served.key}"}, timeout=PATIENCE_S
    )
    assert answer.status_code == 200
    until(lambda: waiting_in(served).count == 0)


def test_a_slow_reader_is_dropped_and_can_go_on_behind_what_it_read(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "SLOW_AFTER_S", 0.3)
    # Enough to fill both ends of the connection with events that are in memory once.
    monkeypatch.setattr(streams, "_frame", lambda entry: b"id: %d\ndata: %s\n\n" % (entry.seq, b"x" * 500_000))
    waiting = waiting_in(served)
    host, port = served.url.removeprefix("http://").split(":")
    with socket.socket() as idle:
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        idle.connect((host, int(port)))
        request = f"GET /v1/events/stream HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {served.key}\r\n\r\n"
        idle.sendall(request.encode())
        until(lambda: waiting.count == 1)
        for _ in range(4):
            submitted(served.api, 5)
        until(lambda: waiting.count == 0)
    monkeypatch.undo()  # Before the next one begins: at work, this reader may be slow as well.
    with following(served, Last_Event_ID="0") as reader:
        first = next(block for block in reader.blocks if "data" in block)
    assert first["id"] == "1"
