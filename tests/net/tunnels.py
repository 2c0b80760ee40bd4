"""A real proxy on the loopback interface: it knows CONNECT and nothing else, and may lead a target astray to a server
of the test's."""

import base64
import contextlib
import socket
import threading
from collections.abc import Mapping


class Tunnels:
    """`leads_to` maps `host:port` as asked for to the local port behind it; any other target is refused (403), and
    wrong credentials are (407). `heads` are the requests as they came."""

    def __init__(self, leads_to: Mapping[str, int], *, credentials: str | None = None, answer: bytes = b"") -> None:
        self.heads: list[str] = []
        self.credentials_seen: list[str] = []
        self._leads_to, self._answer = leads_to, answer or b"HTTP/1.1 200 Connection established\r\nVia: us\r\n\r\n"
        self._wants = credentials is not None
        self._listener = socket.create_server(("127.0.0.1", 0))
        user = "" if credentials is None else f"{credentials}@"
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://{user}127.0.0.1:{self.port}"

    def __enter__(self) -> "Tunnels":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(caller,), daemon=True).start()

    def _serve(self, caller: socket.socket) -> None:
        with contextlib.suppress(OSError), caller:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                received = caller.recv(1)
                if not received:
                    return
                head += received
            self.heads.append(head.decode("latin-1"))
            if not self._knows(head):
                caller.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            port = self._leads_to.get(head.split(b" ")[1].decode())
            if port is None:
                caller.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", port)) as server:
                caller.sendall(self._answer)
                back = threading.Thread(target=_copy, args=(server, caller), daemon=True)
                back.start()
                _copy(caller, server)
                back.join()

    def _knows(self, head: bytes) -> bool:
        marks = [line[27:] for line in head.split(b"\r\n") if line.startswith(b"Proxy-Authorization: Basic ")]
        self.credentials_seen += [base64.b64decode(mark).decode() for mark in marks]
        return bool(marks) or not self._wants


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
