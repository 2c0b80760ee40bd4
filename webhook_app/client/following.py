"""Following a server's log: its events in the order of their `seq`, each once, whatever is restarted meanwhile."""

import json
import time
from collections.abc import Iterable, Iterator
from typing import Any

from webhook_app.client.calls import ApiError, Calls
from webhook_app.client.shapes import Event

PAGE = 200
AGAIN_AFTER_S = 1.0
KEEP_ALIVE_S = 15.0  # The server is never silent for longer.


def events(calls: Calls, *, after: int | str, types: Iterable[str], track_id: str | None) -> Iterator[Event]:
    """Those that there are behind `after`, to the end of the log."""
    asked = _asked(types, track_id) | {"limit": PAGE}
    while True:
        page, _ = calls.json("GET", "/v1/events", params=asked | {"after": after})
        yield from page["data"]
        after = page["next_after"]
        if not page["has_more"]:
            return


def stream(calls: Calls, *, after: int | str, types: Iterable[str], track_id: str | None) -> Iterator[Event]:
    """Those behind `after`, and then as they come, without an end. A connection that was there once and is lost is made
    again; `ApiError` is raised for everything else."""
    asked = _asked(types, track_id)
    # As a number: what happens before the first event arrives must not be lost with the connection either.
    place = calls.json("GET", "/v1/events", params=asked | {"after": after, "limit": 1})[0]["next_after"]
    last = place if after == "now" else int(after)
    while True:
        try:
            headers = {"Last-Event-ID": str(last)}
            lines = calls.lines("/v1/events/stream", params=asked, headers=headers, wait_s=KEEP_ALIVE_S)
            for number, event in _blocks(lines):
                last = last if number is None else number
                if event is not None:
                    yield event
        except ApiError as error:
            if error.status is not None and error.status < 500 and error.status != 429:
                raise
            time.sleep(max(float(error.retry_after_s or 0), AGAIN_AFTER_S))


def _asked(types: Iterable[str], track_id: str | None) -> dict[str, Any]:
    return {"type": list(types)} | ({} if track_id is None else {"track_id": track_id})


def _blocks(lines: Iterable[str]) -> Iterator[tuple[int | None, Event | None]]:
    """The id and the event of each block of a stream (WHATWG HTML, 9.2.6). One that was cut off counts for nothing."""
    block: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            block[name] = value.removeprefix(" ")
            continue
        number = int(block["id"]) if "id" in block else None
        yield number, json.loads(block["data"]) if "data" in block else None
        block = {}
