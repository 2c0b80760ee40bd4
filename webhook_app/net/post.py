"""POSTs to strangers: one connection for each, to an address that was checked, and an end to the whole of it."""

import contextlib
import ssl
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import requests
from urllib3.exceptions import HTTPError

from webhook_app.domain.errors import FetchError
from webhook_app.domain.webhooks import Answered
from webhook_app.net.deadline import Deadline
from webhook_app.net.fetch import reason_of
from webhook_app.net.guard import Guard, GuardedSession, trusted_tls
from webhook_app.net.proxy import Proxy
from webhook_app.net.urls import parse

MOST_READ = 64 * 1024
CHUNK = 8 * 1024
EXCERPT = 1_000
LONGEST_RETRY_AFTER_S = 10**7


class GuardedSender:
    """The `Sender` of production. `private_hosts` are `host:port` entries that may have private addresses and speak
    plain HTTP. `tls` is for receivers with certificates of one's own; None means the public authorities."""

    def __init__(
        self,
        private_hosts: frozenset[str],
        *,
        total_timeout_s: float = 15,
        tls: ssl.SSLContext | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        self._guard = Guard(private_hosts, proxy)
        self._total_timeout_s = total_timeout_s
        self._tls = tls or trusted_tls()

    def may_name(self, url: str) -> bool:
        try:
            target = parse(url)
        except FetchError:
            return False
        return self._guard.is_private_allowed(target.host, target.port)

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answered:
        began_at = time.monotonic()
        deadline = Deadline(self._total_timeout_s)
        try:
            with deadline, GuardedSession(self._guard, self._tls, deadline.watch) as session:
                return self._exchange(session, url, body, headers, deadline, began_at)
        except FetchError as error:
            took_s = time.monotonic() - began_at
            return Answered(None, took_s, error=error.reason, forbidden=not error.retryable)
        except (requests.RequestException, HTTPError, OSError) as error:
            reason = "timeout" if deadline.over else reason_of(error)
            return Answered(None, time.monotonic() - began_at, error=reason)

    def _exchange(
        self,
        session: GuardedSession,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        deadline: Deadline,
        began_at: float,
    ) -> Answered:
        target = parse(url)
        # Refused here as well as in the connection, before the name of a stranger's choice is looked up.
        if target.scheme == "http" and not self._guard.is_private_allowed(target.host, target.port):
            raise FetchError("plain_http", retryable=False)
        left = max(deadline.remaining, 0.001)
        with session.post(
            target.url, data=body, headers=dict(headers), stream=True, allow_redirects=False, timeout=(left, left)
        ) as response:
            excerpt = _beginning(response)
            took_s = time.monotonic() - began_at
            asked = _retry_after_s(response.headers.get("Retry-After"))
            return Answered(response.status_code, took_s, retry_after_s=asked, excerpt=excerpt)


def _beginning(response: requests.Response) -> str:
    """How the answer begins. Its status is known and counts, whatever becomes of the rest of it."""
    read, kept = 0, b""
    with contextlib.suppress(HTTPError, OSError):
        while read < MOST_READ and (chunk := response.raw.read1(CHUNK, decode_content=False)):
            read += len(chunk)
            kept += chunk[: EXCERPT - len(kept)]
    return kept.decode("utf-8", errors="replace").replace("\0", "\ufffd")


def _retry_after_s(text: str | None) -> int | None:
    """Seconds, or an instant (RFC 9110, 10.2.3); None without one, or where it cannot be read."""
    if text is None:
        return None
    if text.strip().isdecimal() and text.isascii():
        return min(int(text.strip()[:12]), LONGEST_RETRY_AFTER_S)
    try:
        instant = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    instant = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return max(int((instant - datetime.now(UTC)).total_seconds()), 0)
