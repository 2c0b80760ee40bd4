"""Reading URLs that strangers wrote. One parser for checking and for connecting, so that both see the same host."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from webhook_app.domain.errors import FetchError

DEFAULT_PORTS = {"http": 80, "https": 443}

_HOST = re.compile(r"[a-z0-9]([a-z0-9._-]{0,252}[a-z0-9.])?|[0-9a-f:.]+")
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]")
_AUTHORITY = re.compile(r"[a-z]+://([^/?#]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that may be tried: `host` is lower case and without brackets, `port` is never missing."""

    url: str
    scheme: str
    host: str
    port: int


def parse(url: str) -> Target:
    """Read a URL. Raises `FetchError`, never retryable: `bad_url`, `scheme_refused` or `userinfo`."""
    if _FORBIDDEN.search(url):
        raise FetchError("bad_url", retryable=False)
    try:
        parsed = parse_url(url.strip())
    except (LocationParseError, UnicodeError) as error:
        raise FetchError("bad_url", retryable=False) from error
    scheme = (parsed.scheme or "").lower()
    if scheme not in DEFAULT_PORTS:
        raise FetchError("scheme_refused", retryable=False)
    if parsed.auth is not None:
        raise FetchError("userinfo", retryable=False)
    host = (parsed.host or "").strip("[]").lower()
    port = DEFAULT_PORTS[scheme] if parsed.port is None else parsed.port
    authority = _AUTHORITY.match(url.strip())
    # A host in other scripts would be folded on the way to the resolver (full-width digits become an address).
    if authority is None or not authority[1].isascii() or not _HOST.fullmatch(host) or port == 0:
        raise FetchError("bad_url", retryable=False)
    return Target(parsed.url, scheme, host, port)


def host_and_port(entry: str) -> tuple[str, int]:
    """Split `host:port` as operators write it (`[::1]:8080` too). Raises ValueError."""
    host, separator, port = entry.strip().rpartition(":")
    if not separator or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"expected host:port, got {entry!r}")
    return host.strip("[]").lower(), int(port)


class HostPatterns:
    """Hosts by name: `name`, `name:port`, `*.suffix`, `*.suffix:port`. Without a port, the scheme's own is meant."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = [_pattern(pattern) for pattern in sorted(patterns)]

    def match(self, target: Target) -> bool:
        return any(
            target.port == (DEFAULT_PORTS[target.scheme] if port is None else port) and _name_matches(name, target.host)
            for name, port in self._patterns
        )


def _pattern(text: str) -> tuple[str, int | None]:
    text = text.strip().lower()
    if text.startswith("[") or text.count(":") == 1:
        host, _, rest = text.rpartition(":")
        if rest.isdecimal():
            return host.strip("[]"), int(rest)
    return text.strip("[]"), None


def _name_matches(name: str, host: str) -> bool:
    if name.startswith("*."):
        return host.endswith(name[1:]) and len(host) > len(name) - 1
    return host == name
