"""`providers`: how full they are, whether they are paused and why, and the two switches."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from webhook_app.cli.exits import Exit, Stop
from webhook_app.cli.instants import INSTANT, instant_text
from webhook_app.cli.output import emit, output_option, table
from webhook_app.cli.start import database_fits, settings_and_logs

if TYPE_CHECKING:
    from webhook_app.wiring import Parts

HEAD = ("provider", "slots", "queued", "in flight", "paused")
OPERATOR = "operator"
LONGEST_REASON = 200


@click.group()
def providers() -> None:
    """List, pause and resume providers."""


@providers.command("list")
@output_option
def list_providers(output: str) -> None:
    """List providers with their slots and pauses."""
    from webhook_app.store import reads

    parts = _parts()
    with parts.store.reading() as connection:
        rows = reads.providers(connection, parts.providers, now=datetime.now(UTC))
    shown = [_shown(parts, row) for row in rows]
    emit(output, {"data": shown}, table(HEAD, [_line(provider) for provider in shown]))


@providers.command()
@click.argument("name")
@click.option("--reason", default="by_hand", show_default=True, help="Why; for people.")
@click.option("--until", type=INSTANT, help="UTC. [default: until it is resumed]")
@output_option
def pause(name: str, reason: str, until: datetime | None, output: str) -> None:
    """Send nothing to a provider; what it has in hand goes on."""
    from webhook_app.flows import pausing

    if not 0 < len(reason.strip()) <= LONGEST_REASON:
        raise click.BadParameter(f"takes 1 to {LONGEST_REASON} characters", param_hint="--reason")
    now = datetime.now(UTC)
    if until is not None and until <= now:
        raise click.BadParameter("lies in the past", param_hint="--until")
    parts = _parts(name)
    pausing.pause(parts.store, name, reason=reason.strip(), by=OPERATOR, until=until, now=now)
    _emit_one(parts, name, output)


@providers.command()
@click.argument("name")
@output_option
def resume(name: str, output: str) -> None:
    """End a provider's pause, whoever began it."""
    from webhook_app.flows import pausing

    parts = _parts(name)
    pausing.resume(parts.store, name, by=OPERATOR, now=datetime.now(UTC))
    _emit_one(parts, name, output)


def _parts(name: str | None = None) -> "Parts":
    """The installation; ends with 3 for a provider that it does not have."""
    from webhook_app.wiring import build

    settings = settings_and_logs()
    database_fits(settings)
    parts = build(settings)
    if name is not None and name not in parts.providers:
        raise Stop(Exit.NOT_FOUND, f"no provider {name}; there is {', '.join(parts.providers)}")
    return parts


def _shown(parts: "Parts", row: dict[str, Any]) -> dict[str, Any]:
    from webhook_app.web import representations
    from webhook_app.wiring import policy

    return representations.provider(row, max_in_flight=policy(parts).max_in_flight)


def _emit_one(parts: "Parts", name: str, output: str) -> None:
    from webhook_app.store import reads

    with parts.store.reading() as connection:
        (row,) = reads.providers(connection, [name], now=datetime.now(UTC))
    shown = _shown(parts, row)
    emit(output, shown, f"{name}: {_pause_text(shown) or 'not paused'}")


def _line(shown: dict[str, Any]) -> list[str]:
    slots = f"{shown['slots']['in_use']} of {shown['slots']['max']}"
    return [shown["provider"], slots, str(shown["queued"]), str(shown["in_flight"]), _pause_text(shown)]


def _pause_text(shown: dict[str, Any]) -> str:
    paused = shown["paused"]
    if paused is None:
        return ""
    until = f"until {instant_text(paused['paused_until'])}" if paused["paused_until"] else "until it is resumed"
    return f"paused {until}: {paused['reason']} (by {paused['by']})"
