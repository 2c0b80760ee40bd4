"""Answers that go wrong on the wire. An answer whose iterator raises ends its connection where it stands."""

import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

from flask import Response

from webhook_app.emulator import pages
from webhook_app.emulator.options import EmulatorOptions
from webhook_app.emulator.words import SubmitFault

JSON = "application/json"
NEVER_WHOLE = frozenset({SubmitFault.RESET_AFTER_READ, SubmitFault.SILENT, SubmitFault.HEADERS_ONLY, SubmitFault.CUT})
NO_STATUS_LINE = frozenset({SubmitFault.RESET_AFTER_READ, SubmitFault.SILENT})
AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER, on, 0 s: close() sends RST and no FIN

Hold = Callable[[float], bool]


class HangUp(ConnectionAbortedError):
    """Ends the connection where it stands, as a process that was stopped does."""


class Reset(HangUp):
    """Ends it by a RST, as a process that died with unread bytes does."""


def reset(connection: socket.socket) -> None:
    """Send the RST. The socket object is empty afterwards, so that nobody can say goodbye on it with a FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    socket.close(connection.detach())


def reset_answer() -> Response:
    return Response(_reset())


def spoilt(text: str, fault: SubmitFault, hold: Hold, options: EmulatorOptions) -> Response:
    """The answer `text` of a job that was taken, as `fault` leaves it. `hold(seconds)` waits; True: not to the end."""
    data = text.encode()
    whole = {"Content-Length": str(len(data))}
    match fault:
        case SubmitFault.RESET_AFTER_READ:
            return reset_answer()
        case SubmitFault.SILENT:
            return Response(_silence(hold, options.silence_s))
        case SubmitFault.HEADERS_ONLY:
            return Response(_broken(b"", hold, options.silence_s), headers=whole, mimetype=JSON)
        case SubmitFault.CUT:
            return Response(_broken(data[: len(data) // 2], hold, 0), headers=whole, mimetype=JSON)
        case SubmitFault.SLOW:
            return Response(_slow(data, hold, options.slow_s), headers=whole, mimetype=JSON)
        case SubmitFault.HTML_502_TAKEN:
            return Response(pages.BAD_GATEWAY, 502, mimetype="text/html")
        case SubmitFault.GARBAGE:
            return Response(data[: len(data) * 2 // 3], mimetype=JSON)
        case _:
            return Response(data, mimetype=JSON)


def told(fault: SubmitFault, body: dict[str, Any]) -> dict[str, Any]:
    """What the ledger says of such an answer: `aborted` for one that never came whole, `body` for one that did."""
    status = 502 if fault is SubmitFault.HTML_502_TAKEN else 200
    return {
        "http_status": None if fault in NO_STATUS_LINE else status,
        "aborted": fault if fault in NEVER_WHOLE else None,
        "body": body if fault in (SubmitFault.NONE, SubmitFault.SLOW) else None,
    }


def _reset() -> Iterator[bytes]:
    yield from ()
    raise Reset


def _silence(hold: Hold, seconds: float) -> Iterator[bytes]:
    yield from ()
    hold(seconds)
    raise HangUp


def _broken(part: bytes, hold: Hold, seconds: float) -> Iterator[bytes]:
    """The empty first piece sends the headers."""
    yield part
    hold(seconds)
    raise HangUp


def _slow(data: bytes, hold: Hold, seconds: float) -> Iterator[bytes]:
    if hold(seconds):
        raise HangUp
    yield data
