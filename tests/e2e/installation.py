"""An installation made of real processes, with everything that it printed; nothing is left behind."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from webhook_app.domain.job import Scope
from webhook_app.flows import keys
from webhook_app.store.engine import Store

PROVIDER_KEY = "canary-provider-key-5d1e8f"
SECRET = "canary-secret-key-0b7c2a-canary-secret-key"
PATIENCE_S = 60


@dataclass
class Process:
    """One of our commands, with its output in a file."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    def stop(self, how: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(how)
            try:
                self.popen.wait(timeout=40)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        return self.popen.returncode


@dataclass
class Installation:
    """A database, the emulator, and our processes in front of it."""

    folder: Path
    env: dict[str, str]
    url: str
    emulator_url: str
    key: str = ""
    processes: list[Process] = field(default_factory=list)

    def start(self, *words: str, module: str = "webhook_app", **extra: str) -> Process:
        """Run `webhook-app WORDS` in the background; another `module` in its place may be named."""
        name = f"{words[0]}-{len(self.processes)}"
        log = self.folder / f"{name}.log"
        with log.open("ab") as sink:
            command = [sys.executable, "-m", module, *words]
            popen = subprocess.Popen(
                command, env=self.env | extra, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL, cwd=self.folder
            )
        process = Process(name, popen, log)
        self.processes.append(process)
        return process

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `webhook-app WORDS` to its end."""
        command = [sys.executable, "-m", "webhook_app", *words]
        return subprocess.run(
            command, env=self.env, capture_output=True, text=True, timeout=PATIENCE_S, cwd=self.folder, check=False
        )

    def start_web(self, **extra: str) -> Process:
        """Start the web process and wait until it is ready."""
        web = self.start("web", **extra)
        eventually(lambda: self._ready(web), "the web process is ready")
        return web

    def _ready(self, web: Process) -> bool:
        if web.popen.poll() is not None:
            raise AssertionError(f"web ended with {web.popen.returncode}:\n{web.log.read_text()}")
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{self.url}/readyz", timeout=5).status_code == 200
        return False

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        """A request with the API key."""
        headers = {"Authorization": f"Bearer {self.key}"} | more.pop("headers", {})
        return requests.request(method, self.url + path, headers=headers, timeout=PATIENCE_S, **more)

    def submit(self, prompt: str, *, headers: dict[str, str] | None = None, **body: Any) -> requests.Response:
        """POST /v1/jobs."""
        asked = {"input": {"prompt": prompt, "width": 256, "height": 256} | body.pop("input", {})} | body
        return self.call("POST", "/v1/jobs", json=asked, headers=headers or {})

    def archived(self, track_id: str) -> dict[str, Any]:
        """The job once its archive is settled."""

        def settled() -> dict[str, Any] | None:
            answer = self.call("GET", f"/v1/jobs/{track_id}?wait=5&until=archived")
            assert answer.status_code == 200, answer.text
            job: dict[str, Any] = answer.json()
            done = job["status"] in {"failed", "canceled", "timed_out"} or job["archive_status"] in {"archived", "lost"}
            return job if done else None

        job: dict[str, Any] = eventually(settled, f"{track_id} is archived")
        return job

    def ledger(self, kind: str, track_id: str | None = None) -> list[dict[str, Any]]:
        """What the emulator got and gave."""
        asked = {"kind": kind} | ({"track_id": track_id} if track_id else {})
        answer = requests.get(f"{self.emulator_url}/_emulator/ledger", params=asked, timeout=10)
        entries: list[dict[str, Any]] = answer.json()["entries"]
        return entries

    def provider(self, **options: Any) -> None:
        """Change the emulator's ways."""
        requests.post(f"{self.emulator_url}/_emulator/config", json=options, timeout=10).raise_for_status()

    def output(self) -> str:
        """Everything that our processes printed."""
        return "".join(process.log.read_text(errors="replace") for process in self.processes)


def eventually(look: Any, what: str, patience_s: float = PATIENCE_S) -> Any:
    """Look again until there is something; the time limit is a failure, not a decision."""
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {patience_s} s: {what}")


@contextlib.contextmanager
def installation(database_url: str, folder: Path, port: int, *emulator: str) -> Iterator[Installation]:
    """The emulator running, and a key in a database that has its schema; web and worker are the test's to start."""
    env = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "SECRET_KEY"}} | {
        "DATABASE_URL": database_url,
        "DATA_DIR": str(folder / "data"),
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "SECRET_KEY": SECRET,
        "MODELSLAB_API_KEY": PROVIDER_KEY,
        "LOG_LEVEL": "info",
        "LOG_FORMAT": "json",
        "PYTHONUNBUFFERED": "1",
        "WEB_CONCURRENCY": "1",
    }
    made = Installation(folder, env, f"http://127.0.0.1:{port}", "")
    try:
        options = emulator or ("--delay", "0.3")
        acted = made.start("emulator", "--port", "0", *options)
        line = eventually(lambda: _first_line(acted), "the emulator listens")
        made.emulator_url = line.removesuffix("/api/v1/enterprise")
        made.env["MODELSLAB_URL"] = line
        made.key = _new_key(database_url)
        yield made
    finally:
        for process in reversed(made.processes):
            process.stop()


def _new_key(database_url: str) -> str:
    store, scopes = Store(database_url), [Scope.SUBMIT, Scope.READ, Scope.ADMIN]
    try:
        return keys.create_key(store, client="acme", name="test", scopes=scopes, now=datetime.now(UTC))[1]
    finally:
        store.dispose()


def _first_line(process: Process) -> str | None:
    if process.popen.poll() is not None:
        raise AssertionError(process.log.read_text())
    lines = [line for line in process.log.read_text().splitlines() if line.startswith("http")]
    return lines[0] if lines else None
