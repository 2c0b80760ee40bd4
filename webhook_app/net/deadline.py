"""An end for a whole exchange. Socket timeouts alone do not give one: a server that sends a byte a second resets
them."""

import contextlib
import socket
import threading
import time
from types import TracebackType


class Deadline:
    """When the time is over, every watched socket is shut down, so that whatever read is waiting on it returns at once:
    in the TLS handshake, in the headers or in the body. Name resolution has its own time limit, the resolver's."""

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    @property
    def remaining(self) -> float:
        """Seconds left; zero or less when it is over."""
        return self._ends - time.monotonic()

    @property
    def over(self) -> bool:
        return self.remaining <= 0

    def watch(self, sock: socket.socket) -> None:
        # A duplicate: TLS takes the descriptor away from the original socket, and both name the same connection.
        with self._lock:
            self._sockets.append(sock.dup())
        if self.over:
            self._end()

    def _end(self) -> None:
        with self._lock:
            for sock in self._sockets:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> "Deadline":
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            for sock in self._sockets:
                sock.close()
            self._sockets.clear()
