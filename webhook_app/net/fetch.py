"""Downloads from strangers: checked at every hop, capped in size and in total time, streamed into the caller's sink."""

import ssl
from typing import Any, BinaryIO
from urllib.parse import urljoin

import requests
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
)

from webhook_app.domain.errors import FetchError
from webhook_app.net.deadline import Deadline
from webhook_app.net.guard import Guard, GuardedSession, trusted_tls
from webhook_app.net.port import Fetched
from webhook_app.net.proxy import Proxy, ProxyFailed
from webhook_app.net.urls import HostPatterns, parse

MAX_REDIRECTS = 3
CHUNK = 64 * 1024
REDIRECTS = frozenset({301, 302, 303, 307, 308})


class GuardedFetcher:
    """The `Fetcher` of production. `known_hosts` are patterns (`name`, `name:port`, `*.suffix`); `private_hosts` are
    `host:port` entries that may have private addresses and speak plain HTTP. One connection per download: hostile
    servers share nothing. `tls` is for servers with certificates of one's own; None means the public authorities."""

    def __init__(
        self,
        known_hosts: frozenset[str],
        private_hosts: frozenset[str],
        *,
        max_bytes: int = 64 * 1024 * 1024,
        total_timeout_s: float = 60,
        connect_timeout_s: float = 10,
        tls: ssl.SSLContext | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        self._known = HostPatterns(known_hosts)
        self._guard = Guard(private_hosts, proxy)
        self._max_bytes = max_bytes
        self._total_timeout_s = total_timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._tls = tls or trusted_tls()

    def host_known(self, url: str) -> bool:
        """True for a known host over https, and for an entry of `private_hosts` over either. Resolves nothing."""
        try:
            target = parse(url)
        except FetchError:
            return False
        if self._guard.is_private_allowed(target.host, target.port):
            return True
        return target.scheme == "https" and self._known.match(target)

    def fetch(self, url: str, sink: BinaryIO) -> Fetched:
        """Download `url`. Errors of the sink itself (a full disk) come out as they are; the sink may hold a part then,
        as after a `FetchError`."""
        deadline = Deadline(self._total_timeout_s)
        with deadline, GuardedSession(self._guard, self._tls, deadline.watch) as session:
            return self._follow(session, url, sink, deadline)

    def _follow(self, session: GuardedSession, url: str, sink: BinaryIO, deadline: Deadline) -> Fetched:
        for _ in range(MAX_REDIRECTS + 1):
            with self._get(session, url, deadline) as response:
                if response.status_code in REDIRECTS and response.headers.get("Location"):
                    url = _next_url(url, response.headers["Location"])
                    continue
                return self._take(response, url, sink, deadline)
        raise FetchError("too_many_redirects")

    def _get(self, session: GuardedSession, url: str, deadline: Deadline) -> requests.Response:
        target = parse(url)
        # Refused here as well as in the connection, before the name of a stranger's choice is looked up.
        if target.scheme == "http" and not self._guard.is_private_allowed(target.host, target.port):
            raise FetchError("plain_http", retryable=False)
        left = deadline.remaining
        if left <= 0:
            raise FetchError("timeout")
        timeout = (min(self._connect_timeout_s, left), left)
        try:
            return session.get(target.url, stream=True, allow_redirects=False, timeout=timeout)
        except (requests.RequestException, HTTPError) as error:
            raise FetchError("timeout" if deadline.over else reason_of(error)) from error

    def _take(self, response: requests.Response, url: str, sink: BinaryIO, deadline: Deadline) -> Fetched:
        if response.status_code != 200:
            raise FetchError(f"http_{response.status_code}")
        if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            raise FetchError("encoded")
        declared = response.headers.get("Content-Length", "")
        if declared.isdecimal() and int(declared[:20]) > self._max_bytes:
            raise FetchError("too_large", retryable=False)
        size = self._copy(response.raw, sink, deadline)
        return Fetched(size, response.headers.get("Content-Type"), url)

    def _copy(self, raw: Any, sink: BinaryIO, deadline: Deadline) -> int:
        size = 0
        while chunk := self._read(raw, deadline):
            size += len(chunk)
            if size > self._max_bytes:
                raise FetchError("too_large", retryable=False)
            sink.write(chunk)
        # A body without a length ends where the connection ends, also when it was our deadline that ended it.
        if deadline.over:
            raise FetchError("timeout")
        return size

    def _read(self, raw: Any, deadline: Deadline) -> bytes:
        try:
            return bytes(raw.read(CHUNK, decode_content=False))
        except ReadTimeoutError as error:
            raise FetchError("timeout") from error
        except HTTPError as error:
            raise FetchError("timeout" if deadline.over else "truncated") from error


def _next_url(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise FetchError("bad_url", retryable=False) from error


def reason_of(error: BaseException) -> str:
    """One word for a foreign exception. requests wraps urllib3's at several depths: the whole chain is looked at.
    The order counts: urllib3's errors of name, connecting and time derive from one another."""
    chain = list(_chain(error))
    for kinds, reason in _REASONS:
        if any(isinstance(link, kinds) for link in chain):
            return reason
    return "connection"


_REASONS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((ProxyFailed,), "proxy"),
    ((NameResolutionError,), "dns"),
    ((NewConnectionError,), "connection"),
    ((ConnectTimeoutError,), "connect_timeout"),
    ((ReadTimeoutError, requests.ReadTimeout), "timeout"),
    ((ssl.SSLError, requests.exceptions.SSLError), "tls"),
    ((requests.exceptions.InvalidURL,), "bad_url"),
)


def _chain(error: BaseException | None) -> Any:
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        link = waiting.pop()
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        reason = getattr(link, "reason", None)
        waiting += [link.__cause__, link.__context__, reason if isinstance(reason, BaseException) else None]
        waiting += [argument for argument in link.args if isinstance(argument, BaseException)]
