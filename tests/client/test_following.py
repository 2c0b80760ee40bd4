"""Following a log by the client: to its end, or as it grows, also over connections that are lost."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import pytest
import requests

from tests.databases import free_port
from tests.served import Served
from tests.web.test_feed import submitted
from webhook_app.client import ApiError, Client, Event
from webhook_app.client import following as followings
from webhook_app.web import stream as streams

PATIENCE_S = 30.0


def seqs(events: Iterator[Event], count: int) -> list[int]:
    return [event["seq"] for event in islice(events, count)]


def test_events_are_read_to_the_end_of_the_log(served: Served, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followings, "PAGE", 2)
    first, *_ = submitted(served.api, 5)
    assert seqs(client.events(), 99) == [1, 2, 3, 4, 5]
    assert seqs(client.events(after=3), 99) == [4, 5]
    assert seqs(client.events(after="now"), 99) == []
    assert seqs(client.events(track_id=first), 99) == [1]
    assert seqs(client.events(types=["job.failed", "job.canceled"]), 99) == []


def test_a_stream_tells_what_happens_from_now_on(served: Served, client: Client) -> None:
    submitted(served.api, 2)
    stream = client.stream()
    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(next, stream)
        # From whenever "now" was: that the stream has begun can be seen from outside alone.
        while not told.done():
            submitted(served.api)
        first = told.result(PATIENCE_S)["seq"]
    submitted(served.api)
    assert first > 2
    assert seqs(stream, 1) == [first + 1]


def test_a_stream_that_ends_is_taken_up_where_it_was(
    served: Served, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "LASTS_S", 0.3)
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(0.1):
            submitted(served.api)

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        try:
            assert seqs(client.stream(after=0), 15) == list(range(1, 16))
        finally:
            ended.set()
            working.result(PATIENCE_S)


def test_what_is_wrong_for_good_is_raised(served: Served, client: Client) -> None:
    for ask in (client.events, client.stream):
        with pytest.raises(ApiError) as caught:
            next(ask(after=99))
        assert (caught.value.status, caught.value.code) == (409, "cursor_ahead")
    with Client(served.url, "wrong") as stranger, pytest.raises(ApiError) as caught:
        next(stranger.stream())
    assert caught.value.status == 401
    with Client(f"http://127.0.0.1:{free_port()}", "k") as alone, pytest.raises(ApiError) as caught:
        next(alone.stream())
    assert caught.value.code == "unreachable"


def test_a_block_that_was_cut_off_counts_for_nothing() -> None:
    lines = ["retry: 1000", "", ": keep-alive", "id: 3", "", "id: 4", 'data: {"seq": 4}', "", "id: 5", 'data: {"s']
    assert list(followings._blocks(lines)) == [(None, None), (3, None), (4, {"seq": 4})]


def test_the_session_is_free_again_after_a_stream(served: Served, client: Client) -> None:
    submitted(served.api, 3)
    for _ in range(30):  # More than a pool of connections holds.
        stream = client.stream(after=0)
        next(stream)
        stream.close()  # type: ignore[attr-defined] # a generator
    assert requests.get(f"{served.url}/healthz", timeout=PATIENCE_S).ok
