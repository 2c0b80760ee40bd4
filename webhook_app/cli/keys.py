"""`keys`: API keys, made, listed and revoked on the server."""

import sys
from datetime import UTC, datetime
from typing import Any

import click

from webhook_app.cli.exits import Exit, Stop
from webhook_app.cli.output import emit, output_option, say, table
from webhook_app.cli.start import open_store, settings_and_logs
from webhook_app.domain.job import Scope

LONGEST_NAME = 200
PAGE = 200
HEAD = ("key_id", "client", "name", "scopes", "created", "revoked")


@click.group()
def keys() -> None:
    """Make, list and revoke API keys."""


@keys.command()
@click.option("--client", required=True, help="Whose key; the client is made when there is none of this name.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([scope.value for scope in Scope]),
    help="Repeatable. [default: submit, read]",
)
@click.option("--name", default="", help="What the key is for.")
@click.option("--from-stdin", is_flag=True, help="Register the key on stdin, which the client uses already.")
@output_option
def create(client: str, scopes: tuple[str, ...], name: str, from_stdin: bool, output: str) -> None:
    """Make a key. It is printed once, on stdout, and kept as a digest alone."""
    from webhook_app.flows.keys import create_key

    if not client.strip() or max(len(client), len(name)) > LONGEST_NAME:
        raise click.UsageError(f"--client and --name take 1 to {LONGEST_NAME} characters")
    store = open_store(settings_and_logs())
    wanted = [Scope(scope) for scope in scopes] or [Scope.SUBMIT, Scope.READ]
    given = sys.stdin.readline().strip() if from_stdin else None
    if given == "":
        raise click.UsageError("--from-stdin: there is no key on stdin")
    key_id, secret = create_key(
        store, client=client.strip(), name=name, scopes=wanted, secret=given, now=datetime.now(UTC)
    )
    result = {"key_id": key_id, "client": client.strip(), "name": name, "scopes": [str(scope) for scope in wanted]}
    say(f"{key_id} for {client.strip()}: {', '.join(wanted)}")
    if given is None:
        emit(output, result | {"key": secret}, secret)
    else:
        emit(output, result, key_id)


@keys.command("list")
@output_option
def list_keys(output: str) -> None:
    """List all keys, without their secrets."""
    from webhook_app.store import reads

    store = open_store(settings_and_logs())
    found: list[dict[str, Any]] = []
    with store.reading() as connection:
        while page := reads.keys(connection, after=_last(found), limit=PAGE):
            found += page
    emit(output, {"data": found}, table(HEAD, [_line(row) for row in found]))


def _last(found: list[dict[str, Any]]) -> tuple[datetime, str] | None:
    return (found[-1]["created_at"], found[-1]["key_id"]) if found else None


def _line(row: dict[str, Any]) -> list[str]:
    ended = f"{row['revoked_at']:%Y-%m-%d}" if row["revoked_at"] else ""
    return [row["key_id"], row["client"], row["name"], ",".join(row["scopes"]), f"{row['created_at']:%Y-%m-%d}", ended]


@keys.command()
@click.argument("key_id")
@output_option
def revoke(key_id: str, output: str) -> None:
    """End a key at once."""
    from webhook_app.flows.keys import revoke_key

    store = open_store(settings_and_logs())
    if not revoke_key(store, key_id, now=datetime.now(UTC)):
        raise Stop(Exit.NOT_FOUND, f"no key {key_id}")
    emit(output, {"key_id": key_id, "revoked": True}, f"revoked {key_id}")
