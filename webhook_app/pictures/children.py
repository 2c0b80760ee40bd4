"""Decoding in child processes with limits of memory, CPU and time. A child that dies is replaced."""

import contextlib
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from pathlib import Path
from queue import LifoQueue
from typing import IO, Any, cast

from webhook_app.domain.errors import NotAPicture
from webhook_app.domain.job import ImageFlag
from webhook_app.pictures.decode import MAX_PIXELS, Facts
from webhook_app.pictures.port import DECODER_DIED, NO_DECODER

# A child gets no other variable: its parent's hold secrets.
KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")
START_TIMEOUT_S = 30
LONGEST_ANSWER = 65_536
TRIES = 2


class DecoderPool:
    """At most `processes` children, started at the first need and kept. Thread-safe: a thread waits while all are busy.
    Each picture may take `memory_mb` of address space, `cpu_s` seconds of CPU and `wall_s` seconds."""

    def __init__(
        self,
        processes: int = 2,
        memory_mb: int = 1024,
        cpu_s: int = 30,
        *,
        wall_s: float = 60,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self._wall_s, self._max_pixels = wall_s, max_pixels
        self._closed = threading.Event()
        self._children = [_Child(memory_mb, cpu_s) for _ in range(processes)]
        # Last in, first out: a quiet pool keeps one child warm and starts no second.
        self._free: LifoQueue[_Child] = LifoQueue()
        for child in self._children:
            self._free.put(child)

    def decode(self, path: Path) -> Facts:
        """Raises `NotAPicture`: the decoder's refusal; `DECODER_DIED` when two children in turn died of the picture,
        the second a fresh one; `NO_DECODER` when there is no child. Both may come good."""
        request = json.dumps({"path": str(path), "max_pixels": self._max_pixels}).encode() + b"\n"
        child = self._free.get()
        try:
            for _ in range(TRIES):
                if self._closed.is_set():
                    raise NotAPicture(NO_DECODER)
                line = child.ask(request, self._wall_s)
                facts = None if line is None else _facts(line)
                if facts is not None:
                    return facts
                child.end()  # What it says is not what it was made to say: whoever speaks there, no more of it.
        finally:
            self._free.put(child)
        raise NotAPicture(DECODER_DIED)

    def pids(self) -> list[int]:
        """The living children's process ids."""
        return [pid for child in self._children if (pid := child.pid) is not None]

    def close(self) -> None:
        """End the children, whatever they are doing, and start no more. May be repeated."""
        self._closed.set()
        for child in self._children:
            child.kill()
        for child in [self._free.get() for _ in self._children]:
            child.end()
            self._free.put(child)


def _facts(line: bytes) -> Facts | None:
    """What a child's answer says; None when it is none. Raises `NotAPicture` where it is a refusal."""
    try:
        answer: dict[str, Any] = json.loads(line)
        if "refused" in answer:
            refusal = NotAPicture(str(answer["refused"]), retryable=bool(answer["retryable"]))
        else:
            remark = answer.pop("blankness")
            return Facts(**answer, blankness=None if remark is None else ImageFlag(remark))
    except (ValueError, TypeError, LookupError):
        return None
    raise refusal


class _Child:
    """One process, started when it is needed. Used by one thread at a time; only `kill` and `pid` are for others."""

    def __init__(self, memory_mb: int, cpu_s: int) -> None:
        self._limits = (str(memory_mb), str(cpu_s))
        self._process: subprocess.Popen[bytes] | None = None
        self._starting = threading.Lock()
        self._killed = False

    @property
    def pid(self) -> int | None:
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    def ask(self, request: bytes, wall_s: float) -> bytes | None:
        """The answer's line; None when the child died of it or took too long, and is gone then."""
        process = self._running()
        line = None
        with contextlib.suppress(BrokenPipeError):
            cast(IO[bytes], process.stdin).write(request)
            line = _read_line(process, wall_s)
        if line is None:
            self.end()
        return line

    def _running(self) -> subprocess.Popen[bytes]:
        if self.pid is None:
            self.end()
        if self._process is not None:
            return self._process
        process = self._start()
        if _read_line(process, START_TIMEOUT_S) is None:
            self.end()
            raise NotAPicture(NO_DECODER)
        return process

    def _start(self) -> subprocess.Popen[bytes]:
        with self._starting:
            if self._killed:
                raise NotAPicture(NO_DECODER)
            try:
                self._process = process = _start(self._limits)
            except OSError as error:
                raise NotAPicture(NO_DECODER) from error
            return process

    def kill(self) -> None:
        """For good: under the lock, so that none is started just now that nobody would kill."""
        with self._starting:
            self._killed = True
            process = self._process
        if process is not None:
            process.kill()

    def end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            cast(IO[bytes], stream).close()


def _start(limits: tuple[str, str]) -> subprocess.Popen[bytes]:
    environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    # One arena: glibc would reserve address space for every thread otherwise, and the limit counts that.
    environment["MALLOC_ARENA_MAX"] = "1"
    command = [sys.executable, "-P", "-m", "webhook_app.pictures.child", *limits]
    pipe = subprocess.PIPE
    # A session of its own: Ctrl-C and the terminal's hang-up are for the parent, which ends its children itself.
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, bufsize=0, env=environment, start_new_session=True)


def _read_line(process: subprocess.Popen[bytes], wall_s: float) -> bytes | None:
    """A whole line within the time; None at the end of the stream or of the time, or when it gets too long."""
    stream = cast(IO[bytes], process.stdout)
    line, ends = b"", time.monotonic() + wall_s
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            left = ends - time.monotonic()
            if left <= 0 or len(line) > LONGEST_ANSWER or not selector.select(left):
                return None
            received = os.read(stream.fileno(), 65536)
            if not received:
                return None
            line += received
    return line
