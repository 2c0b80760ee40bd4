"""A client's webhook receiver: a real HTTP server that keeps a journal, and answers each path as it is told."""

import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Handler = BaseHTTPRequestHandler


@dataclass(frozen=True)
class Got:
    """One request, and when it came (in seconds since 1970). Names of headers are in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float


@dataclass
class Answer:
    """What a path says. `act` takes the place of an answer: it gets the connection's handler."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    act: Callable[[Handler], None] | None = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class Receiver:
    """Listens on a port of its own. A path answers what it was told, in turn; the last answer stays; 200 untold."""

    def __init__(self) -> None:
        self.journal: list[Got] = []
        self.stopping = threading.Event()
        self._answers: dict[str, deque[Answer]] = {}
        self._changed = threading.Condition()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.host_port = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.host_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def answer(self, path: str, *answers: Answer) -> str:
        """From now on; returns the URL."""
        self._answers[path] = deque(answers)
        return self.url + path

    def got(self, path: str | None = None) -> list[Got]:
        with self._changed:
            return [each for each in self.journal if path in (None, each.path)]

    def wait_for(self, count: int, path: str | None = None, patience_s: float = 60.0) -> list[Got]:
        """Until so many requests have come."""
        with self._changed:
            enough = self._changed.wait_for(lambda: self._count(path) >= count, patience_s)
        assert enough, f"{self._count(path)} of {count} requests within {patience_s} s"
        return self.got(path)

    def _count(self, path: str | None) -> int:
        return sum(path in (None, each.path) for each in self.journal)

    def hang(self, _handler: Handler) -> None:
        """Say nothing for as long as the server lives."""
        self.stopping.wait()

    def close(self) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[Handler]:
        receiver = self

        class Handling(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                with receiver._changed:
                    receiver.journal.append(Got(self.path, headers, body, time.time()))
                    receiver._changed.notify_all()
                    answers = receiver._answers.get(self.path) or deque([Answer()])
                    answer = answers.popleft() if len(answers) > 1 else answers[0]
                self.close_connection = True
                if answer.act is not None:
                    answer.act(self)
                    return
                self.send_response(answer.status)
                for name, value in ({"Content-Length": str(len(answer.body))} | answer.headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body)

            do_GET = do_POST

            def log_message(self, format: str, *args: Any) -> None:
                """The journal is enough."""

        return Handling


def reset(handler: Handler) -> None:
    """The request was read; the connection is reset without an answer."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    handler.connection.close()


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    made = Receiver()
    try:
        yield made
    finally:
        made.close()
