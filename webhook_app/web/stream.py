"""Server-sent events (WHATWG HTML, 9.2): the feed written to one connection for as long as its reader keeps up.

A stream is ended, to be resumed with `Last-Event-ID`, when the process stops, when the database is away, when its
reader does not take what is written, and after `LASTS_S`, so that a key that was revoked does not read on for ever.
"""

import select
import time
from collections.abc import Iterator, Mapping, Sequence
from socket import SHUT_RDWR, SO_SNDBUF, SOL_SOCKET, socket
from typing import Any

import structlog

from webhook_app.domain.errors import DatabaseUnavailable
from webhook_app.web.feed import Entry, Feed, Wanted
from webhook_app.web.waiting import Waiting

log = structlog.get_logger("webhook_app.web")
MEDIA_TYPE = "text/event-stream"
RETRY_MS = 1_000
KEEP_ALIVE_S = 15.0
LASTS_S = 900.0
SLOW_AFTER_S = 10.0
AT_ONCE = 100
# A socket that says that it takes more takes as much as this without making us wait, or nearly always.
PIECE = 4_096
WAITS_IN_KERNEL = 64 * 1024
SOCKETS = ("gunicorn.socket", "werkzeug.socket")


class Outlet:
    """The reader's end, as the server gives it to us; one that it does not show is taken as always ready."""

    def __init__(self, environ: Mapping[str, Any]) -> None:
        found = next((environ[name] for name in SOCKETS if name in environ), None)
        self._socket: socket | None = found
        self._poll = select.poll()
        if found is not None:
            self._poll.register(found, select.POLLOUT)
            # What waits in the kernel for a reader who does not come is bounded, and soon noticed.
            found.setsockopt(SOL_SOCKET, SO_SNDBUF, WAITS_IN_KERNEL)
            found.settimeout(SLOW_AFTER_S)  # Where a piece is larger than what it takes.

    def takes_more(self) -> bool:
        """Whether the reader reads, or begins to within `SLOW_AFTER_S`; else the connection is cut."""
        if self._socket is None:
            return True
        # At once, and only then with a time: gevent gives the others a turn for that.
        ready = self._poll.poll(0) or self._poll.poll(SLOW_AFTER_S * 1000)
        if ready and all(event == select.POLLOUT for _, event in ready):
            return True
        if not ready:
            log.info("stream.dropped", slow_s=SLOW_AFTER_S)
            self._cut()
        return False

    def _cut(self) -> None:
        """The server's own last bytes would wait for this reader as well."""
        try:
            if self._socket is not None:
                self._socket.shutdown(SHUT_RDWR)
        except OSError:
            return  # It has gone by itself.


def stream(feed: Feed, waiting: Waiting, outlet: Outlet, wanted: Wanted, after: int) -> Iterator[bytes]:
    """The events after that `seq`, as they come. For who has a place among the waiters."""
    ends_at = time.monotonic() + LASTS_S
    yield b"retry: %d\n\n" % RETRY_MS
    while not waiting.draining and time.monotonic() < ends_at:
        try:
            page = feed.wait(after, wanted, AT_ONCE, waiting.wait_in_place, KEEP_ALIVE_S)
        except DatabaseUnavailable:
            return
        after = page.next_after
        written = [_frame(entry) for entry in page.entries]
        # Where nothing was for this reader, the place in the log goes on all the same.
        for piece in _pieces(written or [b": keep-alive\nid: %d\n\n" % after]):
            if not outlet.takes_more():
                return
            yield piece


def _frame(entry: Entry) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (entry.seq, entry.type.encode(), entry.json)


def _pieces(frames: Sequence[bytes]) -> Iterator[bytes]:
    piece = b""
    for frame in frames:
        if piece and len(piece) + len(frame) > PIECE:
            yield piece
            piece = b""
        piece += frame
    yield piece
