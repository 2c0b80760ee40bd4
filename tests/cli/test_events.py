"""`events` and `listen`: the log on a shell, and handed on to a program beside it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Thread
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.served import Served, app, parts, served
from tests.web.test_feed import submitted

__all__ = ["app", "parts", "served"]

PATIENCE_S = 60.0


def environment(served: Served) -> dict[str, str]:
    return {"WEBHOOK_APP_URL": served.url, "WEBHOOK_APP_API_KEY": served.key}


def test_events_are_printed_a_line_each(run: Run, served: Served) -> None:
    first, second = submitted(served.api, 2)
    lines = run("events", **environment(served)).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2"]
    assert (first in lines[0], "job.queued" in lines[0]) == (True, True)
    told = run("events", "--after", "1", "--output", "json", **environment(served)).stdout.splitlines()
    assert [json.loads(line)["track_id"] for line in told] == [second]
    assert run("events", "--type", "job.failed", **environment(served)).stdout == ""
    assert len(run("events", "--track-id", first, **environment(served)).stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("events", "--after", "soon"), 2),
        (("events", "--type", "job.eaten"), 2),
        (("events", "--after", "9"), 5),
        (("events", "--track-id", "nothing"), 3),
        (("listen", "--forward", "localhost:3000"), 2),
    ],
)
def test_what_cannot_be_asked_ends_with_its_code(run: Run, served: Served, words: tuple[str, ...], code: int) -> None:
    assert run(*words, **environment(served)).exit_code == code


@pytest.fixture
def receiver() -> Iterator[tuple[str, "Queue[tuple[dict[str, str], Any]]"]]:
    """A program on this machine that takes webhooks: its address, and what it gets."""
    got: Queue[tuple[dict[str, str], Any]] = Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.put((dict(self.headers.items()), json.loads(body)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hooks", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_what_happens_is_handed_on_as_webhooks_are(
    served: Served, receiver: tuple[str, "Queue[tuple[dict[str, str], Any]]"]
) -> None:
    url, got = receiver
    command = [sys.executable, "-u", "-m", "webhook_app", "listen", "--forward", url, "--output", "json"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment(served), stdout=pipe, stderr=pipe, text=True) as listening:
        try:
            assert listening.stderr is not None
            assert listening.stdout is not None
            assert "listening" in listening.stderr.readline()
            waiting = served.api.http.application.extensions["waiting"]
            while waiting.count == 0:
                assert listening.poll() is None
            (track_id,) = submitted(served.api)
            headers, body = got.get(timeout=PATIENCE_S)
            told = json.loads(listening.stdout.readline())
        finally:
            listening.terminate()
    assert (told["track_id"], told["type"]) == (track_id, "job.queued")
    assert (body["type"], body["data"]["event"], body["data"]["job"]["track_id"]) == ("job.queued", told, track_id)
    assert headers["webhook-id"] == told["event_id"]
    assert int(headers["webhook-timestamp"]) > 0
    assert not any(served.key in value for value in headers.values())
