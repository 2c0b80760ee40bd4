"""Many clients that wait, each on a connection of its own, in one process that does nothing else.

Reads JSON from stdin: `url`, `headers`, and the `paths` to ask, one connection each. Prints `ready` when all have been
sent, and then for each answer a line: its path, its HTTP status, and when it was complete in seconds of the clock that
all processes of this machine share (`time.monotonic`).
"""

import json
import resource
import selectors
import socket
import sys
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.bench.load import request_of

CONNECTS_WITHIN_S = 60.0


@dataclass(slots=True)
class Waiter:
    """One connection, and what of its answer has come."""

    path: str
    end: socket.socket
    got: bytearray = field(default_factory=bytearray)

    def read(self) -> int | None:
        """The status of a complete answer, 0 when the connection has ended without one; None while there is more."""
        piece = self.end.recv(65_536)
        self.got += piece
        head, found, body = bytes(self.got).partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)
        if found and len(body) >= length:
            return int(lines[0].split()[1])
        return None if piece else 0


def run(url: str, headers: dict[str, str], paths: list[str]) -> None:
    """Ask all, and tell each answer as it comes."""
    parsed = urlsplit(url)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    selector = selectors.DefaultSelector()
    for path in paths:
        address = (parsed.hostname or "", parsed.port or 80)
        end = socket.create_connection(address, timeout=CONNECTS_WITHIN_S)
        end.sendall(request_of(parsed.netloc, "GET", path, b"", headers))
        selector.register(end, selectors.EVENT_READ, Waiter(path, end))
    print("ready", flush=True)
    while selector.get_map():
        for key, _ in selector.select():
            status, now = key.data.read(), time.monotonic()
            if status is not None:
                selector.unregister(key.fileobj)
                key.data.end.close()
                print(key.data.path, status, now, flush=True)


if __name__ == "__main__":
    run(**json.load(sys.stdin))
