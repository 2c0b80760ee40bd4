"""What the archive and our webhooks ask of the network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from webhook_app.domain.webhooks import Answered


@dataclass(frozen=True, slots=True)
class Fetched:
    """A finished download: `size` bytes were written to the sink, and the server called them `content_type`."""

    size: int
    content_type: str | None
    final_url: str


class Fetcher(Protocol):
    def host_known(self, url: str) -> bool:
        """True when the URL's host is known to serve pictures, or was allowed by the operator. Pure."""
        ...

    def fetch(self, url: str, sink: BinaryIO) -> Fetched:
        """Download `url` into `sink`, within caps of size and total time. Every address of the name must be public (or
        allowed), and the connection goes to the address that was checked. Raises `domain.errors.FetchError`."""
        ...


class Sender(Protocol):
    """What our webhooks ask of the network."""

    def may_name(self, url: str) -> bool:
        """Whether the operator allowed this URL's host although it is private, or the URL plain http. Pure."""
        ...

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answered:
        """POST once, and say what came of it; raises nothing. Every address of the name must be public (or allowed),
        and the connection goes to the one that was checked. No redirect is followed, and of the answer no more than 64
        KB are read. May be called by many threads at once."""
        ...
