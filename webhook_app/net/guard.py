"""Connections that only go where they may: a name is resolved once, every answer must be allowed, and the socket goes
to an address that was checked. TLS (server name, certificate) is left to urllib3. The check sits below every URL parser
and every redirect."""

import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter
from requests.cookies import RequestsCookieJar
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3 import HTTPConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from webhook_app.domain.addresses import may_reach
from webhook_app.domain.errors import FetchError
from webhook_app.net.proxy import Proxy
from webhook_app.net.urls import host_and_port

Watch = Callable[[socket.socket], None]
# family, type, protocol, socket address: what `getaddrinfo` says, without the canonical name.
Answer = tuple[int, int, int, Any]


class Guard:
    """Where connections may go: to public addresses over TLS, and to the `host:port` entries of `private_hosts`
    whatever their address, plain HTTP included. With a proxy they go there through it: it is told the address that was
    checked, never the name."""

    def __init__(self, private_hosts: Iterable[str] = (), proxy: Proxy | None = None) -> None:
        self._private = frozenset(host_and_port(entry) for entry in private_hosts)
        self.proxy = proxy

    def is_private_allowed(self, host: str, port: int) -> bool:
        return (host.strip("[]").rstrip(".").lower(), port) in self._private

    def resolve(self, host: str, port: int) -> list[Answer]:
        """One resolution; every answer is allowed. Raises `FetchError("address_refused")` and `socket.gaierror`."""
        try:
            found = socket.getaddrinfo(host.strip("[]"), port, socket.AF_UNSPEC, socket.SOCK_STREAM)
        except UnicodeError as error:
            raise socket.gaierror(socket.EAI_NONAME, "the name cannot be encoded") from error
        answers: list[Answer] = [(family, kind, protocol, address) for family, kind, protocol, _, address in found]
        if not answers:
            raise socket.gaierror(socket.EAI_NONAME, "no answers")
        if not self.is_private_allowed(host, port) and not all(_is_allowed(answer) for answer in answers):
            raise FetchError("address_refused", retryable=False)
        return answers


def _is_allowed(answer: Answer) -> bool:
    family, _, _, address = answer
    return family in (socket.AF_INET, socket.AF_INET6) and may_reach(str(address[0]))


class GuardedHTTPConnection(HTTPConnection):
    def __init__(self, *args: Any, guard: Guard, watch: Watch | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.guard, self.watch = guard, watch

    def _new_conn(self) -> socket.socket:
        if not self.guard.is_private_allowed(self.host, self.port or 80):
            raise FetchError("plain_http", retryable=False)
        return _dial(self, self.guard, self.watch)


class GuardedHTTPSConnection(HTTPSConnection):
    def __init__(self, *args: Any, guard: Guard, watch: Watch | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.guard, self.watch = guard, watch

    def _new_conn(self) -> socket.socket:
        return _dial(self, self.guard, self.watch)


def _dial(connection: HTTPConnection, guard: Guard, watch: Watch | None) -> socket.socket:
    """A socket connected to a checked address. Errors are urllib3's own: callers can tell that nothing was sent."""
    host, port = connection.host, connection.port
    sys.audit("http.client.connect", connection, host, port)
    try:
        # With the trailing dot where there was one: without it, the resolver's search list would apply.
        answers = guard.resolve(connection._dns_host, port)
    except socket.gaierror as error:
        raise NameResolutionError(host, connection, error) from error
    try:
        return _connect_any(answers, connection, guard.proxy, watch)
    except TimeoutError as error:
        raise ConnectTimeoutError(connection, f"connecting to {host} timed out") from error
    except OSError as error:
        raise NewConnectionError(connection, f"connecting to {host} failed: {error}") from error


def _connect_any(
    answers: list[Answer], connection: HTTPConnection, proxy: Proxy | None, watch: Watch | None
) -> socket.socket:
    """Try the answers in turn. The time-out covers all of them together, and stays on the socket."""
    timeout: Any = connection.timeout
    deadline = time.monotonic() + timeout if isinstance(timeout, int | float) else None
    failure: OSError = TimeoutError("no time left to connect")
    for answer in answers:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            break
        try:
            if proxy is not None:
                return proxy.tunnel(str(answer[3][0]), answer[3][1], timeout=left, watch=watch)
            sock = _connect_one(answer, left, connection.socket_options or ())
            if watch is not None:
                watch(sock)
            return sock
        except OSError as error:
            failure = error
    raise failure


def _connect_one(answer: Answer, timeout: float | None, options: Iterable[Any]) -> socket.socket:
    family, kind, protocol, address = answer
    sock = socket.socket(family, kind, protocol)
    try:
        for option in options:
            sock.setsockopt(*option)
        sock.settimeout(timeout)
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


class _GuardedPools(PoolManager):
    """Pools whose connections are guarded."""

    def __init__(self, guard: Guard, watch: Watch | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._conn_kw = {"guard": guard, "watch": watch}

    def _new_pool(
        self, scheme: str, host: str, port: int, request_context: dict[str, Any] | None = None
    ) -> HTTPConnectionPool:
        pool = super()._new_pool(scheme, host, port, request_context)
        pool.ConnectionCls = GuardedHTTPSConnection if scheme == "https" else GuardedHTTPConnection
        pool.conn_kw |= self._conn_kw
        return pool


class GuardedAdapter(HTTPAdapter):
    """`requests` over guarded connections. Certificates are always verified, against one context made beforehand:
    loading the authorities costs more than the rest of a request."""

    def __init__(self, guard: Guard, tls: ssl.SSLContext, watch: Watch | None = None) -> None:
        self._guard, self._tls, self._watch = guard, tls, watch
        super().__init__(max_retries=0)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:
        self.poolmanager = _GuardedPools(
            self._guard, self._watch, num_pools=connections, maxsize=maxsize, block=block, **kwargs
        )

    def build_connection_pool_key_attributes(
        self, request: PreparedRequest, verify: bool | str | None, cert: Any = None
    ) -> Any:
        host, _ = super().build_connection_pool_key_attributes(request, True, cert)
        return host, {"ssl_context": self._tls, "cert_reqs": "CERT_REQUIRED"}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        conn.cert_reqs = "CERT_REQUIRED"


class GuardedSession(Session):
    """A `requests.Session` that reads nothing from the environment (proxies, netrc, CA bundles), follows no redirect
    and keeps no cookie."""

    def __init__(self, guard: Guard, tls: ssl.SSLContext, watch: Watch | None = None) -> None:
        super().__init__()
        self.trust_env = False
        self.max_redirects = 0
        self.cookies = _NoCookies()
        self.headers.update({"User-Agent": "webhook-app", "Accept-Encoding": "identity", "Accept": "*/*"})
        adapter = GuardedAdapter(guard, tls, watch)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def get_redirect_target(self, resp: Response) -> str | None:
        # Even with redirects off, requests would read the whole body of a 3xx answer to prepare the next hop.
        return None


class _NoCookies(RequestsCookieJar):
    def set_cookie(self, cookie: Any, *args: Any, **kwargs: Any) -> None:
        """Cookies of strangers are dropped."""


def trusted_tls() -> ssl.SSLContext:
    """A client's context with the public authorities. Make it once: about 10 ms."""
    return ssl.create_default_context(cafile=DEFAULT_CA_BUNDLE_PATH)
