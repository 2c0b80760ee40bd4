"""One POST over a connection of its own, with an end in time and in size. Never raises; says whether the request can
have left. Texts of foreign exceptions are not passed on: a server may write what it likes into them."""

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException, IncompleteRead
from socket import socket
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
)

from webhook_app import __version__
from webhook_app.net.deadline import Deadline
from webhook_app.net.proxy import Proxy, ProxyFailed

MAX_ANSWER = 1024 * 1024
CHUNK = 16 * 1024
HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": f"webhook-app/{__version__}",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, whatever it says."""

    http_status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Fault:
    """No whole answer. `sent` False: provably not one byte of the request left."""

    reason: str
    sent: bool


@dataclass(frozen=True, slots=True)
class Road:
    """How to get there."""

    tls: ssl.SSLContext = field(repr=False)
    connect_timeout_s: float
    proxy: Proxy | None = None


def post(url: str, body: bytes, *, road: Road, total_timeout_s: float) -> Answer | Fault:
    """POST JSON once: no retry, no redirect, no cookie, nothing from the environment."""
    with Deadline(total_timeout_s) as deadline:
        line = Line(deadline)
        adapter = _Adapter(road.tls, line, road.proxy)
        try:
            # Without a session: it would read a redirect's whole body, follow proxies of the environment, keep cookies.
            request = requests.Request("POST", url, headers=HEADERS, data=body).prepare()
            connect = max(0.001, min(road.connect_timeout_s, deadline.remaining))
            timeout = (connect, max(0.001, deadline.remaining))
            with adapter.send(request, stream=True, timeout=timeout) as response:
                return _take(response, deadline)
        except (requests.RequestException, HTTPError, HTTPException, OSError, ValueError) as error:
            reason = f"no answer within {total_timeout_s:g} s" if deadline.over else _reason(error, line.connected)
            return Fault(reason, sent=line.connected)
        finally:
            adapter.close()


def _take(response: requests.Response, deadline: Deadline) -> Answer | Fault:
    body = bytearray()
    for chunk in response.raw.stream(CHUNK, decode_content=True):
        body += chunk
        if len(body) > MAX_ANSWER:
            return Fault("the answer is too long", sent=True)
    # A body without a length ends with the connection, also when it was our deadline that ended it.
    if deadline.over:
        return Fault("the answer took too long", sent=True)
    return Answer(response.status_code, dict(response.headers), bytes(body))


@dataclass(slots=True)
class Line:
    """The one connection of an exchange. The request is written only after `connected`: TLS stands."""

    deadline: Deadline
    connected: bool = False


class _Connection(HTTPConnection):
    """The facts cannot be had from exceptions: a TLS alert looks the same in the handshake and in the answer."""

    def __init__(self, *args: Any, line: Line, way_out: Proxy | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._line, self._way_out = line, way_out

    def _new_conn(self) -> socket:
        watch = self._line.deadline.watch
        if self._way_out is not None:
            # By name: the provider's address is the operator's, and the proxy may be the only one who can resolve it.
            host = self.host.strip("[]").rstrip(".")
            return self._way_out.tunnel(
                host, self.port or self.default_port, timeout=_seconds(self.timeout), watch=watch
            )
        sock = super()._new_conn()
        if self._line.deadline.over:
            sock.close()
            raise ConnectTimeoutError("no time left")
        watch(sock)
        return sock

    def connect(self) -> None:
        super().connect()
        self._line.connected = True


class _TlsConnection(_Connection, HTTPSConnection):
    """The same over TLS."""


class _Adapter(HTTPAdapter):
    """requests' transport over connections that report to a `Line`. Certificates are always verified."""

    def __init__(self, tls: ssl.SSLContext, line: Line, proxy: Proxy | None) -> None:
        self._tls, self._line, self._proxy = tls, line, proxy
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: bool | str | None, cert: Any = None
    ) -> Any:
        host, _ = super().build_connection_pool_key_attributes(request, True, cert)
        return host, {"ssl_context": self._tls, "cert_reqs": "CERT_REQUIRED"}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        conn.cert_reqs = "CERT_REQUIRED"

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = _TlsConnection if pool.scheme == "https" else _Connection
        pool.conn_kw |= {"line": self._line, "way_out": self._proxy}
        return pool


def _seconds(timeout: Any) -> float | None:
    return timeout if isinstance(timeout, int | float) else None


# urllib3's errors of name and connecting derive from one another: the order counts.
_REASONS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((ProxyFailed,), "the proxy failed"),
    ((NameResolutionError,), "the name does not resolve"),
    ((ConnectionRefusedError,), "the connection was refused"),
    ((NewConnectionError,), "no connection came about"),
    ((ConnectTimeoutError,), "connecting took too long"),
    ((requests.exceptions.InvalidURL, requests.exceptions.MissingSchema), "the URL is not valid"),
    ((ssl.SSLError,), "TLS failed"),
    ((ReadTimeoutError, TimeoutError), "no answer in time"),
    ((IncompleteRead,), "the answer was cut"),
    ((ConnectionError,), "the connection was reset"),
)


def _reason(error: BaseException, connected: bool) -> str:
    chain = list(_chain(error))
    for kinds, reason in _REASONS:
        if any(isinstance(link, kinds) for link in chain):
            return reason
    return "the answer is not HTTP" if connected else "no connection came about"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and everything that it wraps: requests and urllib3 nest in causes, contexts, reasons and arguments."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        link = waiting.pop()
        if not isinstance(link, BaseException) or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        waiting += [link.__cause__, link.__context__, getattr(link, "reason", None), *link.args]
