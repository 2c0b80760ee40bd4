"""The one way out where there is no other: a tunnel through an HTTP proxy (CONNECT, RFC 9110 section 9.3.6), for plain
HTTP as for TLS. Whoever dials says where to; the proxy sees an address or a name and a port, and nothing else."""

import base64
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

MOST_OF_AN_ANSWER = 16 * 1024


class ProxyFailed(OSError):
    """No tunnel came about: provably nothing has reached the server behind the proxy. The text shows no credentials."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where the proxy is, and the value of `Proxy-Authorization` that it wants."""

    host: str
    port: int
    authorization: str | None = field(default=None, repr=False)

    def tunnel(
        self, host: str, port: int, *, timeout: float | None, watch: Callable[[socket.socket], None] | None = None
    ) -> socket.socket:
        """A socket that leads to that host and port. `timeout` in seconds covers everything, and stays on the socket;
        `watch` is given the socket before anything is said. Raises `ProxyFailed`."""
        ends = None if timeout is None else time.monotonic() + timeout
        try:
            sock = socket.create_connection((self.host, self.port), timeout)
        except OSError as error:
            raise ProxyFailed(f"the proxy cannot be reached: {error.strerror or type(error).__name__}") from error
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if watch is not None:
                watch(sock)
            sock.sendall(self._request(host, port))
            _read_answer(sock, ends)
            sock.settimeout(timeout)
        except ProxyFailed:
            sock.close()
            raise
        except OSError as error:
            sock.close()
            raise ProxyFailed("the proxy does not answer") from error
        return sock

    def _request(self, host: str, port: int) -> bytes:
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if self.authorization is not None:
            lines.append(f"Proxy-Authorization: {self.authorization}")
        return "\r\n".join([*lines, "", ""]).encode("ascii")


def proxy_at(url: str) -> Proxy:
    """`http://[user:password@]host[:port]`, the two percent-encoded where they have to be. Raises ValueError, whose
    text shows nothing of it."""
    parts = urlsplit(url)
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("must be printable ASCII without spaces; anything else percent-encoded")
    if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("must be http://host:port, with user:password@ before the host where the proxy wants it")
    try:
        port = parts.port or 80
    except ValueError:
        raise ValueError("must have a port between 1 and 65535") from None
    if parts.username is None:
        return Proxy(parts.hostname, port)
    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return Proxy(parts.hostname, port, f"Basic {base64.b64encode(credentials).decode()}")


def _read_answer(sock: socket.socket, ends: float | None) -> None:
    """The head of the answer and not a byte more: what follows is the tunnel's."""
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        if ends is not None:
            sock.settimeout(max(ends - time.monotonic(), 0.001))
        byte = sock.recv(1)
        if not byte or len(head) > MOST_OF_AN_ANSWER:
            raise ProxyFailed("the proxy does not speak HTTP" if head else "the proxy hung up")
        head += byte
    words = head.split(b"\r\n", 1)[0].split()
    status = words[1].decode("ascii", "replace") if len(words) > 1 and words[0].startswith(b"HTTP/") else "no status"
    if not (len(status) == 3 and status.startswith("2")):
        raise ProxyFailed(f"the proxy answers {status[:20]}")
