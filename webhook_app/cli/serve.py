"""`serve`: web and worker together, one command for one machine."""

import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import click

from webhook_app import __version__
from webhook_app.cli.exits import Exit, Stop
from webhook_app.cli.output import emit, output_option, say
from webhook_app.cli.start import database_fits, relative, settings_and_logs, stop_on_signals
from webhook_app.cli.supervise import Child, Supervisor
from webhook_app.settings import Settings, keep_secret, make_secret

KEY_FILE = "api-key"
SERVER = "webhook_app.cli.server"
FIRST_CLIENT = "default"


@click.command()
@output_option
def serve(output: str) -> None:
    """Run web and worker here; on SQLite the database is made and upgraded first.

    A new installation gets an API key: printed when stderr is a terminal, else written to DATA_DIR/api-key.
    """
    settings = settings_and_logs()
    prepare(settings)
    secret, path = first_key(settings, show=sys.stderr.isatty())
    for line in greeting(settings, secret, path):
        say(line)
    emit(output, {"url": settings.public_url, "version": __version__}, "")
    stop = stop_on_signals()
    children = both(os.environ)
    code = Supervisor(children, grace_s=settings.shutdown_grace_s, tell=say).run(stop)
    if code is not None:
        raise Stop(Exit(code), "a part of the server cannot run; see above")


def prepare(settings: Settings) -> None:
    """A database that fits: on SQLite it is made or upgraded, elsewhere it must be there."""
    from webhook_app.store import migrations

    path = settings.sqlite_path
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        make_secret(settings)
        revision = migrations.current(settings.database_url) if path.exists() else None
        if migrations.is_behind(revision):
            migrations.upgrade(settings.database_url)
    database_fits(settings)


def first_key(settings: Settings, *, show: bool) -> tuple[str | None, Path | None]:
    """A new installation's first API key (all scopes): the secret when it may be shown, else the file that holds it.
    Both None when there are keys already, or `BOOTSTRAP_API_KEY` is set."""
    from webhook_app.domain.job import Scope
    from webhook_app.flows.keys import create_key, is_new_installation
    from webhook_app.store.engine import Store

    store = Store(settings.database_url)
    try:
        if settings.bootstrap_api_key or not is_new_installation(store):
            return None, None
        _, secret = create_key(store, client=FIRST_CLIENT, name="first", scopes=list(Scope), now=datetime.now(UTC))
    finally:
        store.dispose()
    if show:
        return secret, None
    path = settings.data_dir / KEY_FILE
    path.unlink(missing_ok=True)  # Of an earlier database: it opens nothing here.
    keep_secret(path, lambda: secret, name="DATA_DIR")
    return None, path


def greeting(settings: Settings, secret: str | None, path: Path | None) -> list[str]:
    """What `serve` says: everything that one wants to know of an installation."""
    from webhook_app.store.engine import Store

    key = settings.modelslab_api_key
    lines = [
        f"webhook-app {__version__}",
        f"  database   {Store(settings.database_url).describe()}",
        f"  archive    {settings.archive.describe()}",
        f"  listening  http://{settings.host}:{settings.port}",
        f"  public     {settings.public_url} ({verdict(settings)})",
        f"  provider   modelslab at {settings.modelslab_url}, key {f'…{key[-4:]}' if key else 'missing: paused'}",
    ]
    if secret is not None:
        lines.append(f"  API key    {secret} (shown once)")
    if path is not None:
        lines.append(f"  API key    in {path}")
    return [*lines, f"  try        {curl(settings, secret, path)}"]


def verdict(settings: Settings) -> str:
    """Whether the provider can call us back there."""
    if not settings.callbacks_possible:
        return "WARNING: callbacks go there and it is not https, so the provider is polled alone"
    if settings.provider_is_local:
        return "ok, the provider is local"
    return "https; webhook-app doctor tries it"


def curl(settings: Settings, secret: str | None, path: Path | None) -> str:
    """One command that submits a job."""
    key = secret or (f"$(cat {relative(path)})" if path else "$WEBHOOK_APP_API_KEY")
    body = """'{"input": {"prompt": "An astronaut riding a horse"}}'"""
    headers = f'-H "Authorization: Bearer {key}" -H "Content-Type: application/json"'
    return f"curl {settings.public_url}/v1/jobs {headers} -d {body}"


def both(environment: Mapping[str, str]) -> list[Child]:
    """The two processes of a server. What `web` would check is checked already, so its server is started at once."""
    return [Child("web", [SERVER], environment), Child("worker", ["webhook_app", "worker"], environment)]
