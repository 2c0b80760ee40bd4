"""`callbacks`: everything that providers sent, listed, shown raw, and read again by today's parser."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from webhook_app.cli.exits import Exit, Stop
from webhook_app.cli.instants import INSTANT, instant_text
from webhook_app.cli.output import emit, output_option, say, table
from webhook_app.cli.start import database_fits, open_store, settings_and_logs
from webhook_app.domain.advance import Verdict

if TYPE_CHECKING:
    from webhook_app.flows.replay import Replay

HEAD = ("callback_id", "track_id", "attempt", "verdict", "times", "received", "problem")


@click.group()
def callbacks() -> None:
    """List, show and replay what providers sent."""


@callbacks.command("list")
@click.option("--track-id", help="Of this job alone.")
@click.option("--verdict", "verdicts", multiple=True, type=click.Choice([v.value for v in Verdict]), help="Repeatable.")
@click.option("--provider", help="Of this provider alone.")
@click.option("--received-after", type=INSTANT, help="UTC, inclusive.")
@click.option("--received-before", type=INSTANT, help="UTC, exclusive.")
@click.option("--orphaned", is_flag=True, help="Only those that named no job of ours.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True, help="At most so many.")
@output_option
def list_callbacks(
    track_id: str | None,
    verdicts: tuple[str, ...],
    provider: str | None,
    received_after: datetime | None,
    received_before: datetime | None,
    orphaned: bool,
    limit: int,
    output: str,
) -> None:
    """List what was received, newest first."""
    from webhook_app.domain.ids import is_track_id
    from webhook_app.store import reads

    if track_id is not None and not is_track_id(track_id):
        raise click.BadParameter("is not a track_id", param_hint="--track-id")
    wanted = reads.CallbackFilter(
        track_id=track_id,
        verdicts=verdicts,
        provider=provider,
        received_after=received_after,
        received_before=received_before,
        orphaned=orphaned or None,
    )
    store = open_store(settings_and_logs())
    with store.reading() as connection:
        found = reads.callbacks(connection, wanted, limit=limit + 1)
    if len(found) > limit:
        say(f"there are more than {limit}: --limit, --received-before")
    emit(output, {"data": found[:limit]}, table(HEAD, [_line(row) for row in found[:limit]]))


def _line(row: dict[str, Any]) -> list[str]:
    verdict = row["verdict"] or "not applied yet"
    seen = [str(row["attempt"]), verdict, str(row["times_seen"]), instant_text(row["received_at"])]
    return [row["callback_id"], row["track_id"], *seen, row["problem"] or ""]


@callbacks.command()
@click.argument("callback_id")
@output_option
def show(callback_id: str, output: str) -> None:
    """Show one callback: its body on stdout, what is known of it on stderr."""
    from webhook_app.store import reads
    from webhook_app.web import representations

    store = open_store(settings_and_logs())
    with store.reading() as connection:
        row = reads.callback(connection, callback_id)
    if row is None:
        raise Stop(Exit.NOT_FOUND, f"no callback {callback_id}")
    shown = representations.callback(row)
    if output == "text":
        for name, value in shown.items():
            if name != "body":
                say(f"{name}: {instant_text(value) if isinstance(value, datetime) else value}")
    emit(output, shown, shown["body"] or "")


@callbacks.command()
@click.argument("callback_id")
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@output_option
def replay(callback_id: str, dry_run: bool, output: str) -> None:
    """Read one callback again by today's parser, and apply it."""
    from webhook_app.flows.replay import replay as replay_callback
    from webhook_app.wiring import build, policy

    settings = settings_and_logs()
    database_fits(settings)
    parts = build(settings)
    done = replay_callback(
        parts.store,
        callback_id,
        parts.providers,
        by="operator",
        dry_run=dry_run,
        policy=policy(parts),
        now=datetime.now(UTC),
    )
    emit(output, asdict(done), "\n".join(_told(done)))


def _told(done: "Replay") -> list[str]:
    """What changed, a line for each thing; one line where nothing did."""
    if not done.changed:
        return [f"nothing {'would change' if done.dry_run else 'changed'}: {done.verdict.after}"]
    changes = {"verdict": done.verdict, "problem": done.problem} | (done.job or {})
    lines = [f"{name}: {_word(c.before)} -> {_word(c.after)}" for name, c in changes.items() if c.before != c.after]
    lines += [f"image {image.index}: {image.image_id} gets sources" for image in done.images]
    return lines + [f"event {kind}: {count}" for kind, count in done.events.items()]


def _word(value: Any) -> str:
    return "none" if value is None else str(value["code"] if isinstance(value, dict) else value)
