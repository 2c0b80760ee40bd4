"""A real server on the loopback interface that does to each connection whatever a test says."""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator

Act = Callable[["Caller"], None]


class Caller:
    """One connection, seen from the server."""

    def __init__(self, sock: socket.socket, server: "Misbehaving") -> None:
        self.sock = sock
        self._server = server

    def read_request(self) -> bytes:
        """Head and body; noted as received by the server."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        while len(body) < length:
            body += self._receive()
        self._server.received.append((head, body))
        return body

    def _receive(self) -> bytes:
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionError("the client went away")
        return data

    def answer(self, status: str, body: bytes, *headers: str, length: int | None = None) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers, "", ""]
        self.sock.sendall("\r\n".join(lines).encode() + body)

    def reset(self) -> None:
        """End the connection with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def hold(self) -> None:
        """Say nothing until the test is over."""
        self._server.stopping.wait(30)

    def drip(self, data: bytes) -> None:
        """One byte every 20 ms, without end."""
        self.sock.sendall(data)
        while not self._server.stopping.wait(0.02):
            self.sock.sendall(b" ")


class Misbehaving:
    """`received` are the requests that were read to their end."""

    def __init__(self, act: Act, tls: ssl.SSLContext | None = None) -> None:
        self.received: list[tuple[bytes, bytes]] = []
        self.stopping = threading.Event()
        self._act, self._tls = act, tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
            self._act(Caller(sock, self))
            sock.close()

    def close(self) -> None:
        self.stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextlib.contextmanager
def misbehaving(act: Act, tls: ssl.SSLContext | None = None) -> Iterator[Misbehaving]:
    server = Misbehaving(act, tls)
    try:
        yield server
    finally:
        server.close()
