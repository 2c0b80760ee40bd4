"""What the archive asks of the network."""

from dataclasses import dataclass
from typing import BinaryIO, Protocol


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
