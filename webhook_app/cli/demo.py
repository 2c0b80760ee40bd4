"""`demo`: the whole path on this machine, with an acted provider: one prompt in, one lasting picture out."""

import os
import socket
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import click

from webhook_app.cli.demo_job import DemoFailed, Following, example
from webhook_app.cli.exits import Stop
from webhook_app.cli.output import emit, output_option, say
from webhook_app.cli.serve import KEY_FILE, both, prepare
from webhook_app.cli.start import relative, stop_on_signals
from webhook_app.cli.supervise import Child, Supervisor
from webhook_app.settings import VARIABLES, Settings, keep_secret, load_settings

FOLDER = "webhook-app-demo"
LOG = "demo.log"
# What a demo takes from the environment; anything else might lead to a real provider or a real database.
TAKEN = frozenset({"DATA_DIR", "LOG_LEVEL", "LOG_FORMAT", "HOST", "PORT"})
PICTURE_TAKES_S = "1"  # The first poll comes after 2: a demo is to show the callback.
GRACE_S = "5"


@click.command()
@click.argument("prompt", required=False)
@click.option("--once", is_flag=True, help="End when the picture is archived, instead of serving until Ctrl-C.")
@click.option(
    "--timeout", "timeout_s", default=60.0, show_default=True, help="Seconds until the picture must be there."
)
@output_option
def demo(prompt: str | None, once: bool, timeout_s: float, output: str) -> None:
    """Make one picture from PROMPT, all on this machine: provider, callback, archive.

    Everything is in DATA_DIR if that is set, else in ./webhook-app-demo; run it again, and it goes on there.
    """
    started_at, deadline = datetime.now(UTC), time.monotonic() + timeout_s
    environment = demo_environment(os.environ)
    settings = load_settings(environment)
    prepare(settings)
    key = demo_key(settings)
    stop = stop_on_signals()
    running = _Running(settings, environment, stop)
    try:
        following = Following(settings.public_url, key, started_at=started_at, deadline=deadline, stop=running.ended)
        done = following.to_the_picture(example(prompt), folder=settings.data_dir / "pictures")
        emit(output, done, "\n".join(f"{name} {done[name]}" for name in ("picture", "status", "page")))
        sys.stdout.flush()
        say(f'  its status   curl -H "Authorization: Bearer $(cat {relative(key_file(settings))})" {done["status"]}')
        say(f"  the log      {relative(settings.data_dir / LOG)}")
        if not once:
            say(f"serving at {settings.public_url} until Ctrl-C")
            running.ended.wait()
    except DemoFailed as error:
        if not stop.is_set():
            raise Stop(error.code, f"{error} (see {relative(settings.data_dir / LOG)})") from error
    finally:
        running.end()


def demo_environment(given: Mapping[str, str]) -> dict[str, str]:
    """The environment of the demo's processes: theirs, without the settings of any other installation."""
    environment = {name: value for name, value in given.items() if name not in VARIABLES or name in TAKEN}
    environment.setdefault("DATA_DIR", str(Path.cwd() / FOLDER))
    web, emulator = _free_ports()
    environment.setdefault("PORT", str(web))
    environment["MODELSLAB_URL"] = f"http://127.0.0.1:{emulator}/api/v1/enterprise"
    environment["MODELSLAB_API_KEY"] = "demo-provider-key"
    environment["SHUTDOWN_GRACE_S"] = GRACE_S
    return environment


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def key_file(settings: Settings) -> Path:
    return settings.data_dir / KEY_FILE


def demo_key(settings: Settings) -> str:
    """The API key of this folder: made once, kept in it."""
    from webhook_app.domain.job import Scope
    from webhook_app.flows.keys import create_key, is_new_installation
    from webhook_app.store.engine import Store

    path = key_file(settings)
    store = Store(settings.database_url)
    try:
        if path.exists() and not is_new_installation(store):
            return path.read_text().strip()
        _, secret = create_key(store, client="demo", name="demo", scopes=list(Scope), now=datetime.now(UTC))
    finally:
        store.dispose()
    path.unlink(missing_ok=True)
    keep_secret(path, lambda: secret, name="DATA_DIR")
    return secret


class _Running:
    """Emulator, web and worker, supervised in a thread; their logs go to a file. `ended` is set when they are to stop,
    or cannot work."""

    def __init__(self, settings: Settings, environment: Mapping[str, str], stop: threading.Event) -> None:
        self.ended = stop
        self._log = (settings.data_dir / LOG).open("ab")
        port = settings.modelslab_url.rpartition(":")[2].partition("/")[0]
        acted = ["webhook_app", "emulator", "--port", port, "--delay", PICTURE_TAKES_S]
        children = [Child("emulator", acted, environment, self._log)]
        children += [Child(child.name, child.arguments, environment, self._log) for child in both(environment)]
        self._supervisor = Supervisor(children, grace_s=settings.shutdown_grace_s, tell=say)
        self._thread = threading.Thread(target=self._run, name="supervisor")
        self._thread.start()

    def _run(self) -> None:
        try:
            self._supervisor.run(self.ended)
        finally:
            self.ended.set()

    def end(self) -> None:
        self.ended.set()
        self._thread.join()
        self._log.close()
