"""The two sides of a measurement: webhook-app on a database, and the no-op under the same kind of server."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench import cpu

SECRET = "bench-secret-bench-secret-bench-secret"


@dataclass(frozen=True)
class Server:
    """A running server: its address and the roots of its process trees. `database` adds PostgreSQL's CPU."""

    url: str
    roots: tuple[int, ...]
    database: bool

    def cpu_s(self) -> float:
        """CPU that everything behind this address has used so far."""
        pids = set().union(*(cpu.tree(root) for root in self.roots))
        return cpu.seconds(pids) + (cpu.seconds(cpu.postgres()) if self.database else 0.0)


def free_port() -> int:
    """A port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if process.poll() is not None:
            raise SystemExit(f"the server behind {url} ended with {process.returncode}")
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2):
            return
        time.sleep(0.1)
    raise SystemExit(f"nothing answers at {url}")


@contextlib.contextmanager
def _running(command: list[str], env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as sink:
        process = subprocess.Popen(command, env=env, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()


def environment(database_url: str, folder: Path, port: int) -> dict[str, str]:
    """What both our processes are started with."""
    ours = {
        "DATABASE_URL": database_url,
        "DATA_DIR": str(folder),
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "SECRET_KEY": SECRET,
        "LOG_LEVEL": "warning",
        "WEB_CONCURRENCY": "1",
        "MODELSLAB_API_KEY": "bench",
        "MODELSLAB_URL": "http://127.0.0.1:9/api/v1/enterprise",
    }
    return dict(os.environ) | ours


@contextlib.contextmanager
def ours(database_url: str, folder: Path) -> Iterator[Server]:
    """Our web process and the sealer, on a database that has its schema."""
    port = free_port()
    env = environment(database_url, folder, port)
    web = [sys.executable, "-m", "webhook_app", "web"]
    sealer = [sys.executable, "-m", "tests.bench.sealer"]
    with _running(web, env, folder / "web.log") as a, _running(sealer, env, folder / "sealer.log") as b:
        _wait_for(f"http://127.0.0.1:{port}/healthz", a)
        yield Server(f"http://127.0.0.1:{port}", (a.pid, b.pid), database=not database_url.startswith("sqlite"))


@contextlib.contextmanager
def noop(kind: str, folder: Path) -> Iterator[Server]:
    """A Flask route that does nothing, under gunicorn with the worker class that the database would get."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "tests.bench.noop:app", "-b", f"127.0.0.1:{port}", "-w", "1"]
    command += ["--no-control-socket", "--log-level", "warning", "--keep-alive", "75"]
    threads = ["-k", "gthread", "--threads", "64"]
    command += threads if kind == "sqlite" else ["-k", "gevent", "--worker-connections", "4096"]
    with _running(command, dict(os.environ), folder / "noop.log") as process:
        with contextlib.suppress(urllib.error.HTTPError):
            _wait_for(f"http://127.0.0.1:{port}/", process)
        yield Server(f"http://127.0.0.1:{port}", (process.pid,), database=False)
