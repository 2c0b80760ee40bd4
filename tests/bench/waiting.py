"""A web process with a crowd of waiting requests, each for a job of its own: for the benchmarks of waiting."""

import contextlib
import json
import re
import resource
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import update

from tests.bench import cpu, fixtures, servers
from tests.bench.servers import Server
from webhook_app.domain.events import Event, EventType
from webhook_app.store.engine import Store
from webhook_app.store.events import append
from webhook_app.store.tables import Job

# performance.md: so many must wait in one process.
TARGETS = {"sqlite": 1_500, "postgresql": 10_000}
THREADS_BESIDE = 64
FILES_BESIDE = 1_000
LONGEST_WAIT_S = 900
READY_WITHIN_S = 240.0
ANSWERED_WITHIN_S = 120.0


@dataclass(slots=True)
class Crowd:
    """The waiting clients: when each one's answer came, by the track_id it waits for."""

    process: "subprocess.Popen[str]"
    answers: dict[str, float] = field(default_factory=dict)
    statuses: set[int] = field(default_factory=set)
    came: threading.Condition = field(default_factory=threading.Condition)
    ready: threading.Event = field(default_factory=threading.Event)

    def listen(self) -> None:
        """Take down every line of the process, to its end."""
        for line in self.process.stdout or ():
            if line == "ready\n":
                self.ready.set()
                continue
            path, status, at = line.split()
            with self.came:
                self.answers[path.rpartition("/")[2].partition("?")[0]] = float(at)
                self.statuses.add(int(status))
                self.came.notify_all()

    def answered(self, track_ids: Sequence[str]) -> list[float]:
        """When these were answered; ends the program when one is not, or not well."""
        with self.came:
            if not self.came.wait_for(lambda: self.answers.keys() >= set(track_ids), timeout=ANSWERED_WITHIN_S):
                missing = len(set(track_ids) - self.answers.keys())
                raise SystemExit(f"{missing} of {len(track_ids)} waiters were not answered")
        if self.statuses != {200}:
            raise SystemExit(f"waiters were answered {sorted(self.statuses)}")
        return [self.answers[track_id] for track_id in track_ids]


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything at work: the server, its database, the crowd, and the jobs that it waits for. `before_kib` is what the
    server's process held with nobody waiting."""

    store: Store
    server: Server
    crowd: Crowd
    track_ids: list[str]
    before_kib: int
    key: str

    def waiters(self) -> int:
        """As the server itself counts them."""
        asked = urllib.request.Request(f"{self.server.url}/metrics", headers={"Authorization": f"Bearer {self.key}"})
        with urllib.request.urlopen(asked, timeout=30) as answer:
            found = re.search(r'^webhook_app_waiters\{pid="\d+"\} ([0-9.]+)$', answer.read().decode(), re.MULTILINE)
        return int(float(found[1])) if found else 0


@contextlib.contextmanager
def scene(kind: str, url: str, folder: Path) -> Iterator[Scene]:
    """A crowd of the size that this database has to bear, all asleep."""
    store = Store(url)
    key = fixtures.make_key(store)
    count = min(TARGETS[kind], resource.getrlimit(resource.RLIMIT_NOFILE)[1] - FILES_BESIDE)
    track_ids = fixtures.make_jobs(store, count)
    more = {"WAIT_MAX_S": str(LONGEST_WAIT_S), "SHUTDOWN_GRACE_S": str(int(ANSWERED_WITHIN_S))}
    more |= {"MAX_WAITERS": str(count), "WEB_THREADS": str(count + THREADS_BESIDE)}
    with servers.web(url, folder, more) as server:
        with _crowd(server, key, fixtures.make_jobs(store, 50), wait_s=0) as warm_up:
            warm_up.process.wait(timeout=60)
        before_kib = resident_kib(server)
        with _crowd(server, key, track_ids, wait_s=LONGEST_WAIT_S) as crowd:
            made = Scene(store, server, crowd, track_ids, before_kib, key)
            _until_all_wait(made)
            yield made
    store.dispose()


def _until_all_wait(made: Scene) -> None:
    give_up_at, asleep = time.monotonic() + READY_WITHIN_S, 0
    while asleep < len(made.track_ids):
        if made.crowd.answers or time.monotonic() > give_up_at:
            raise SystemExit(
                f"only {asleep} of {len(made.track_ids)} wait, {len(made.crowd.answers)} answers: {made.crowd.statuses}"
            )
        time.sleep(0.5)
        with contextlib.suppress(TimeoutError):  # It is busy with all who come at the same time.
            asleep = made.waiters()


@contextlib.contextmanager
def _crowd(server: Server, key: str, track_ids: Sequence[str], *, wait_s: int) -> Iterator[Crowd]:
    headers = {"Authorization": f"Bearer {key}"}
    paths = [f"/v1/jobs/{track_id}?wait={wait_s}" for track_id in track_ids]
    command = [sys.executable, "-m", "tests.bench.crowd"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        made = Crowd(process)
        listener = threading.Thread(target=made.listen)
        listener.start()
        try:
            assert process.stdin is not None
            json.dump({"url": server.url, "headers": headers, "paths": paths}, process.stdin)
            process.stdin.close()
            yield made
        finally:
            process.kill()
            listener.join()


def resident_kib(server: Server) -> int:
    """Memory that the server's processes hold."""
    found = 0
    for pid in cpu.tree(server.roots["app"]):
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{pid}/status").read_text()
            found += next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")), 0)
    return found


def end(store: Store, track_ids: Sequence[str]) -> float:
    """Let these jobs succeed in one transaction of this process; returns when it was committed, in `time.monotonic`."""
    now = datetime.now(UTC)
    done = {"status": "succeeded", "completed_at": now, "waiting_for": None, "version": Job.version + 1}
    with store.writing() as connection:
        connection.execute(update(Job).where(Job.track_id.in_(track_ids)).values(**done))
        append(connection, [Event(EventType.JOB_SUCCEEDED, "bench", now, track_id) for track_id in track_ids])
    return time.monotonic()
