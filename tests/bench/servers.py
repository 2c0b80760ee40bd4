"""The two sides of a measurement: webhook-app on a database, and the no-op under the same kind of server."""

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import make_url

from tests.bench import cpu
from tests.databases import free_port

SECRET = "bench-secret-bench-secret-bench-secret"


@dataclass(frozen=True)
class Server:
    """A running server: its address and the roots of its process trees by what they are for. `database` is the name of
    the PostgreSQL database that works for it; None where there is none, or it works in the server's own process."""

    url: str
    roots: dict[str, int]
    database: str | None = None

    def cpu_s(self) -> dict[str, float]:
        """CPU that everything behind this address has used so far, by what it was for."""
        used = {name: cpu.seconds(cpu.tree(root)) for name, root in self.roots.items()}
        return used | ({"database": cpu.seconds(cpu.postgresql(self.database))} if self.database else {})


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        if process.poll() is not None:
            raise SystemExit(f"the server behind {url} ended with {process.returncode}:\n{log.read_text()}")
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
def web(database_url: str, folder: Path, more: dict[str, str] | None = None) -> Iterator[Server]:
    """Our web process, on a database that has its schema; `more` goes into its environment."""
    port = free_port()
    env = environment(database_url, folder, port) | (more or {})
    with _running([sys.executable, "-m", "webhook_app", "web"], env, folder / "web.log") as process:
        _wait_for(f"http://127.0.0.1:{port}/healthz", process, folder / "web.log")
        parsed = make_url(database_url)
        name = None if parsed.get_backend_name() == "sqlite" else parsed.database
        yield Server(f"http://127.0.0.1:{port}", {"app": process.pid}, name)


@contextlib.contextmanager
def worker(database_url: str, folder: Path, more: dict[str, str] | None = None) -> Iterator[None]:
    """A real worker. Without `more` that names a provider it has no key, and submits nothing."""
    env = environment(database_url, folder, free_port())
    env |= more if more else {"MODELSLAB_API_KEY": ""}
    with _running([sys.executable, "-m", "webhook_app", "worker"], env, folder / "worker.log"):
        yield


@contextlib.contextmanager
def ours(database_url: str, folder: Path, more: dict[str, str] | None = None) -> Iterator[Server]:
    """Our web process and the sealer; `more` goes into the web process's environment."""
    env = environment(database_url, folder, free_port())
    sealer = [sys.executable, "-m", "tests.bench.sealer"]
    with web(database_url, folder, more) as server, _running(sealer, env, folder / "sealer.log") as sealing:
        yield replace(server, roots=server.roots | {"worker": sealing.pid})


@contextlib.contextmanager
def noop(kind: str, folder: Path) -> Iterator[Server]:
    """A Flask route that does nothing, under gunicorn with the worker class that the database would get."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "tests.bench.noop:app", "-b", f"127.0.0.1:{port}", "-w", "1"]
    command += ["--no-control-socket", "--log-level", "warning", "--keep-alive", "75"]
    threads = ["-k", "gthread", "--threads", "64"]
    command += threads if kind == "sqlite" else ["-k", "gevent", "--worker-connections", "4096"]
    with _running(command, dict(os.environ), folder / "noop.log") as process:
        _wait_for(f"http://127.0.0.1:{port}/healthz", process, folder / "noop.log")
        yield Server(f"http://127.0.0.1:{port}", {"app": process.pid})
