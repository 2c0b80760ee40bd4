"""Several processes as one: started together, restarted when one dies, stopped together."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

POLL_S = 0.1
HEALTHY_AFTER_S = 30.0
BACKOFF_MOST_S = 30.0
BEYOND_GRACE_S = 5.0
SUPERVISOR = "WEBHOOK_APP_SUPERVISOR"
PR_SET_PDEATHSIG = 1
NEVER_AGAIN = frozenset({2, 3, 5})  # Usage, no database, a second worker: another start would end the same.


@dataclass
class Child:
    """A process of ours: `python -m MODULE …`; what it prints goes to `log`, None for where ours goes."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    log: IO[bytes] | None = None
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0
    failures: int = 0
    again_at: float | None = field(default=None)

    def start(self) -> None:
        command = [sys.executable, "-m", *self.arguments]
        # A group of its own: Ctrl-C reaches the parent alone, which then stops its children in order.
        self.process = subprocess.Popen(
            command,
            env={**self.environment, SUPERVISOR: str(os.getpid())},
            stdout=self.log,
            stderr=self.log,
            process_group=0,
        )
        self.started_at, self.again_at = time.monotonic(), None

    @property
    def ended(self) -> int | None:
        """The exit code of a process that has just ended, None while it runs or is not started."""
        return None if self.process is None else self.process.poll()


class Supervisor:
    """Runs children until `stop`, the later ones stopped first. `tell` gets a line for people."""

    def __init__(self, children: Sequence[Child], *, grace_s: float, tell: Callable[[str], None]) -> None:
        self._children, self._grace_s, self._tell = children, grace_s, tell

    def run(self, stop: threading.Event) -> int | None:
        """Returns None when stopped, else the exit code of a child that cannot work."""
        for child in self._children:
            child.start()
        try:
            while not stop.wait(POLL_S):
                for child in self._children:
                    code = self._look_after(child)
                    if code is not None:
                        return code
            return None
        finally:
            self._end()

    def _look_after(self, child: Child) -> int | None:
        now = time.monotonic()
        if child.again_at is not None:
            if now >= child.again_at:
                child.start()
            return None
        code = child.ended
        if code is None:
            return None
        if code in NEVER_AGAIN:
            self._tell(f"{child.name} ended with {code}")
            return code
        child.failures = 1 if now - child.started_at > HEALTHY_AFTER_S else child.failures + 1
        pause = min(0.5 * 2 ** (child.failures - 1), BACKOFF_MOST_S)
        child.again_at = now + pause
        self._tell(f"{child.name} ended with {code}; starting it again in {pause:.1f} s")
        return None

    def _end(self) -> None:
        running = [c.process for c in self._children if c.process is not None and c.process.poll() is None]
        for process in reversed(running):
            process.terminate()
        deadline = time.monotonic() + self._grace_s + BEYOND_GRACE_S
        for process in running:
            try:
                process.wait(timeout=max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()


def end_with_supervisor() -> None:
    """In a supervised process: be told to stop when the supervisor dies, however it dies. Linux only."""
    supervisor = os.environ.pop(SUPERVISOR, "")
    if not supervisor or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if str(os.getppid()) != supervisor:  # It died before we asked.
        os.kill(os.getpid(), signal.SIGTERM)
