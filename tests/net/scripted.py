"""A real server on the loopback interface that answers with whatever bytes a test wrote down."""

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator

Script = Callable[[str], Iterable[bytes]]


class ScriptedServer:
    """`script(path)` yields the bytes of the whole answer, head included; `requests` are the heads that came in."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[str] = []
        self.stopping = threading.Event()
        self._script, self._tls = script, tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.host_port = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host_port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            head = b""
            while b"\r\n\r\n" not in head:
                received = connection.recv(65536)
                if not received:
                    return
                head += received
            head, _, body = head.partition(b"\r\n\r\n")
            self.requests.append(head.decode("latin-1") + "\r\n\r\n")
            # All of it: who closes with something unread resets the connection, and the answer may be lost.
            left = _length(head) - len(body)
            while left > 0 and (received := connection.recv(65536)):
                left -= len(received)
            for part in self._script(head.split(b" ")[1].decode()):
                connection.sendall(part)
            connection.close()

    def drip(self, parts: Iterable[bytes], pause_s: float = 0.05) -> Iterator[bytes]:
        """The parts, slowly, until the server stops."""
        for part in parts:
            if self.stopping.wait(pause_s):
                return
            yield part

    def close(self) -> None:
        self.stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _length(head: bytes) -> int:
    """Of the body, as the head says."""
    found = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    return 0 if found is None else int(found[1])


def answer(body: bytes = b"", status: str = "200 OK", length: int | None = None, **headers: str) -> bytes:
    """A whole answer; `length` overrules the true Content-Length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
