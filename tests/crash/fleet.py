"""Our processes, kept running whatever kills them."""

import contextlib
import os
import random
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import requests

from tests.e2e.installation import Installation, Process, eventually

LOOK_S = 0.1
NURSERY = "tests.crash.nursery"
ROOT = Path(__file__).resolve().parents[2]
INJECT = Path(__file__).with_name("inject")


@dataclass
class Post:
    """A place that is always filled: the command, and the process that runs it now."""

    module: str
    word: str
    process: Process


@dataclass
class Fleet:
    """Restarts what dies, until `stop`; gunicorn and the nurseries do so for the processes below them."""

    app: Installation
    posts: list[Post] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self, commands: Sequence[tuple[str, str]]) -> None:
        self.posts = [Post(module, word, self.app.start(word, module=module)) for module, word in commands]
        self._thread = threading.Thread(target=self._watch, name="fleet", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Nothing is restarted any more; what runs goes on running."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def kill_one(self, dice: random.Random) -> bool:
        """SIGKILL to one process of a place, both at random. False when there was none, or it has just ended."""
        pids = pids_of(dice.choice(self.posts))
        if not pids:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(dice.choice(pids), signal.SIGKILL)
            return True
        return False

    def _watch(self) -> None:
        while not self._stopping.wait(LOOK_S):
            for post in self.posts:
                if post.process.popen.poll() is not None:
                    post.process = self.app.start(post.word, module=post.module)


def pids_of(post: Post) -> list[int]:
    """What runs at a place: gunicorn and its processes, or the worker. A nursery is not ours."""
    parent = post.process.popen
    if parent.poll() is not None:
        return []
    return ([] if post.module == NURSERY else [parent.pid]) + children_of(parent.pid)


def children_of(pid: int) -> list[int]:
    """The children of a process, none when it has ended."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def commands_for(database_url: str) -> list[tuple[str, str]]:
    """Two workers on PostgreSQL, one on SQLite; the web processes are gunicorn's, by `WEB_CONCURRENCY`."""
    return [("webhook_app", "web"), *[(NURSERY, "worker")] * (1 if database_url.startswith("sqlite") else 2)]


@contextlib.contextmanager
def fleet(app: Installation) -> Iterator[Fleet]:
    """The fleet of an installation, at work and answering."""
    app.env["PYTHONPATH"] = os.pathsep.join([*filter(None, [app.env.get("PYTHONPATH")]), str(ROOT)])
    made = Fleet(app)
    made.start(commands_for(app.env["DATABASE_URL"]))
    try:
        eventually(lambda: answers(app), "web answers")
        yield made
    finally:
        made.stop()


def answers(app: Installation) -> bool:
    """Whether web is ready just now."""
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"{app.url}/readyz", timeout=2).status_code == 200
    return False
