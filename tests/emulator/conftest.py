"""A real emulator on a free port, and a real receiver for its callbacks."""

import json
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from webhook_app.emulator.options import EmulatorOptions
from webhook_app.emulator.serve import serve

PATIENCE_S = 20


class Emulator:
    """A client of one running emulator, without proxies."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = requests.Session()
        self.http.trust_env = False

    def post(self, path: str, body: Any = None) -> requests.Response:
        return self.http.post(self.url + path, json=body, timeout=PATIENCE_S)

    def submit(self, **members: Any) -> requests.Response:
        body = {"key": "any", "prompt": "a lighthouse at dawn", **members}
        return self.post("/api/v1/enterprise/flux/text2img", body)

    def open_submit(self, **members: Any) -> socket.socket:
        """A raw connection with a submit on it, nothing read yet."""
        body = json.dumps({"key": "any", "prompt": "a lighthouse at dawn", **members}).encode()
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        lines = ["POST /api/v1/enterprise/flux/text2img HTTP/1.1", f"Host: {host}:{port}"]
        head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""])
        connection = socket.create_connection((host, int(port)), PATIENCE_S)
        connection.sendall(head.encode() + body)
        return connection

    def fetch(self, job_id: int) -> dict[str, Any]:
        return self.post(f"/api/v1/enterprise/flux/fetch/{job_id}", {"key": "any"}).json()

    def get(self, url: str) -> requests.Response:
        return self.http.get(url if url.startswith("http") else self.url + url, timeout=PATIENCE_S)

    def ledger(self, **filters: str) -> list[dict[str, Any]]:
        return self.http.get(self.url + "/_emulator/ledger", params=filters, timeout=PATIENCE_S).json()["entries"]

    def await_ledger(self, kind: str, count: int) -> list[dict[str, Any]]:
        """The entries of one kind, once there are `count` of them."""
        for _ in range(4000):
            entries = self.ledger(kind=kind)
            if len(entries) >= count:
                return entries
        raise AssertionError(f"{len(entries)} of {count} {kind} entries came")


def read_to_the_end(connection: socket.socket) -> bytes:
    """All that comes until the other side closes. Raises ConnectionResetError for a RST."""
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


class Receiver:
    """Keeps every body that is posted to `url`, raw and in order."""

    def __init__(self) -> None:
        self.got: queue.Queue[tuple[dict[str, str], bytes]] = queue.Queue()
        self._may_answer = threading.Event()
        self._may_answer.set()
        got, may_answer = self.got, self._may_answer

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                got.put(({":path": self.path, **self.headers}, body))
                may_answer.wait(PATIENCE_S)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing."""

        class Server(ThreadingHTTPServer):
            request_queue_size = 128  # The default of 5 resets connections when callbacks come in a burst.

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def hold(self) -> threading.Event:
        """Keep what comes, but answer none of it until the event is set."""
        self._may_answer.clear()
        return self._may_answer

    def next_raw(self) -> tuple[dict[str, str], bytes]:
        """Headers, the path as `:path` among them, and body."""
        return self.got.get(timeout=PATIENCE_S)

    def next(self) -> dict[str, Any]:
        return json.loads(self.next_raw()[1])


@pytest.fixture
def start() -> Iterator[Callable[..., Emulator]]:
    """Starts an emulator with the given options; all are stopped at the end."""
    stops: list[threading.Event] = []
    threads: list[threading.Thread] = []

    def begin(**options: Any) -> Emulator:
        stop = threading.Event()
        ready: queue.Queue[str] = queue.Queue()
        told = EmulatorOptions(**{"delay_s": 0.0, "wait_s": 10.0, **options})
        thread = threading.Thread(target=serve, args=(told,), kwargs={"ready": ready.put, "stop": stop}, daemon=True)
        thread.start()
        stops.append(stop)
        threads.append(thread)
        return Emulator(ready.get(timeout=PATIENCE_S))

    yield begin
    for stop in stops:
        stop.set()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.server.shutdown()
    one.server.server_close()
