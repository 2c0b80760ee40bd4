"""A TCP proxy that breaks connections on order: threads and real sockets, each connection after a script of its own."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum, auto

CHUNK = 65_536
LONGEST = 256
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Ending(StrEnum):
    """How a connection ends for the client. `SILENCE`: it stays open and says nothing more; `HALF_CLOSE`: the answers
    end, the client's bytes still go through."""

    RESET = auto()
    CLOSE = auto()
    HALF_CLOSE = auto()
    SILENCE = auto()


@dataclass(frozen=True, slots=True)
class Fate:
    """What befalls one connection: every piece of an answer is held for `delay_s`; after `cut_after` bytes of answers
    comes the `ending`. None: never."""

    delay_s: float = 0.0
    cut_after: int | None = None
    ending: Ending = Ending.RESET


@dataclass(slots=True)
class Loss:
    """Answers to be lost: on a connection whose client has sent `after`, the next piece that holds `answer` is not
    passed on, and the connection ends. `times` at most, over all connections; `happened` counts them."""

    after: bytes
    answer: bytes
    ending: Ending
    times: int
    happened: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def wait(self, times: int = 1, timeout_s: float = 30.0) -> None:
        """Until so many more answers were lost."""
        for _ in range(times):
            assert self.happened.acquire(timeout=timeout_s), f"no answer after {self.after!r} was lost"


class Meter:
    """Counts bytes, and lets others wait for so many."""

    def __init__(self) -> None:
        self._count, self._grown = 0, threading.Condition()

    def add(self, count: int) -> None:
        with self._grown:
            self._count += count
            self._grown.notify_all()

    def wait(self, count: int, timeout_s: float = 30.0) -> None:
        """Until there were so many, over all connections."""
        with self._grown:
            assert self._grown.wait_for(lambda: self._count >= count, timeout_s), f"only {self._count} bytes came"


@dataclass(eq=False, slots=True)
class _Line:
    """One connection through the proxy, and the losses that its client's bytes have armed."""

    client: socket.socket
    server: socket.socket
    fate: Fate
    passed: int = 0
    silent: bool = False
    armed: list[Loss] = field(default_factory=list)
    tail: bytes = b""


class Proxy:
    """Listens on a free port of 127.0.0.1 in front of `target`. `script` gives each connection, counted from 0, its
    fate; one that is silent at connect is `Fate(cut_after=0, ending=SILENCE)`. `sent` counts the clients' bytes."""

    def __init__(self, target: tuple[str, int], script: Callable[[int], Fate] = lambda number: Fate()) -> None:
        self._target, self.script = target, script
        self._lock = threading.Lock()
        self._lines: set[_Line] = set()
        self._losses: list[Loss] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections, self.sent = 0, Meter()
        threading.Thread(target=self._accept, name="fault-proxy", daemon=True).start()

    def lose(self, after: bytes, answer: bytes, *, ending: Ending = Ending.RESET, times: int = 1) -> Loss:
        """Lose the next answers of this kind."""
        loss = Loss(after, answer, ending, times)
        with self._lock:
            self._losses.append(loss)
        return loss

    def reset_all(self) -> int:
        """Reset every open connection; returns how many there were."""
        with self._lock:
            lines = list(self._lines)
        for line in lines:
            self._end(line, Ending.RESET)
        return len(lines)

    def silence_all(self) -> int:
        """Let nothing pass any more on the open connections, in neither direction, without ending them: a firewall
        that forgot them. Returns how many there were."""
        with self._lock:
            for line in self._lines:
                line.silent = True
            return len(self._lines)

    def close(self) -> None:
        """Stop listening and end every connection."""
        self._listener.close()
        self.reset_all()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            number, self.connections = self.connections, self.connections + 1
            threading.Thread(target=self._connect, args=(client, self.script(number)), daemon=True).start()

    def _connect(self, client: socket.socket, fate: Fate) -> None:
        try:
            server = socket.create_connection(self._target, timeout=10)
        except OSError:
            _reset(client)
            return
        server.settimeout(None)
        line = _Line(client, server, fate)
        with self._lock:
            self._lines.add(line)
        threading.Thread(target=self._up, args=(line,), daemon=True).start()
        self._down(line)

    def _up(self, line: _Line) -> None:
        """The client's bytes to the server."""
        tail = b""
        for piece in _pieces(line.client):
            self.sent.add(len(piece))
            if line.silent:
                continue
            with self._lock:
                line.armed += [loss for loss in self._losses if loss.times and _comes(loss.after, tail, piece)]
            tail = (tail + piece)[-LONGEST:]
            try:
                line.server.sendall(piece)
            except OSError:
                break
        with contextlib.suppress(OSError):
            line.server.shutdown(socket.SHUT_WR)

    def _down(self, line: _Line) -> None:
        """The server's bytes to the client, as far as its fate allows."""
        for piece in _pieces(line.server):
            if line.silent:
                continue
            lost = self._lost(line, piece)
            if lost is not None:
                self._end(line, lost.ending)
                lost.happened.release()
                return
            time.sleep(line.fate.delay_s)
            left = len(piece) if line.fate.cut_after is None else line.fate.cut_after - line.passed
            line.passed += len(piece)
            try:
                line.client.sendall(piece[:left])
            except OSError:
                break
            if left < len(piece):
                self._end(line, line.fate.ending)
                return
        self._end(line, Ending.CLOSE)

    def _lost(self, line: _Line, piece: bytes) -> Loss | None:
        with self._lock:
            tail, line.tail = line.tail, (line.tail + piece)[-LONGEST:]
            for loss in line.armed:
                if loss.times and _comes(loss.answer, tail, piece):
                    loss.times -= 1
                    return loss
        return None

    def _end(self, line: _Line, ending: Ending) -> None:
        with self._lock:
            if line not in self._lines:
                return  # One of its threads notices the end that the other one made: a FIN must not overtake a RST.
            if ending in (Ending.RESET, Ending.CLOSE):
                self._lines.discard(line)
        match ending:
            case Ending.SILENCE:
                return
            case Ending.HALF_CLOSE:
                with contextlib.suppress(OSError):
                    line.client.shutdown(socket.SHUT_WR)
            case Ending.RESET:
                _reset(line.client)
                _reset(line.server)
            case Ending.CLOSE:
                for end in (line.client, line.server):
                    with contextlib.suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)
                    end.close()


def _comes(wanted: bytes, tail: bytes, piece: bytes) -> bool:
    """Whether these bytes end in this piece; those that came before do not count again."""
    overlap = len(wanted) - 1
    return wanted in tail[max(0, len(tail) - overlap) :] + piece


def _reset(end: socket.socket) -> None:
    """Close with a RST. The shutdown wakes our own thread that reads from it, after the RST's option is set."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        end.shutdown(socket.SHUT_RD)
    end.close()


def _pieces(end: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            piece = end.recv(CHUNK)
        except OSError:
            return
        if not piece:
            return
        yield piece


@contextlib.contextmanager
def proxy(target: tuple[str, int], script: Callable[[int], Fate] = lambda number: Fate()) -> Iterator[Proxy]:
    """A proxy for the length of a block."""
    made = Proxy(target, script)
    try:
        yield made
    finally:
        made.close()
