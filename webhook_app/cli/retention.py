"""`retention`: what would be erased by its age, and the order to do it."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from webhook_app.cli.instants import instant_text
from webhook_app.cli.output import emit, output_option, say
from webhook_app.cli.start import open_store, settings_and_logs

if TYPE_CHECKING:
    from webhook_app.store.engine import Store


@click.group()
def retention() -> None:
    """Erase jobs that ended long ago. The worker does it by itself where RETENTION_DAYS is set."""


days_option = click.option("--days", type=click.IntRange(1, 36_500), help="[default: RETENTION_DAYS]")


@retention.command()
@days_option
@output_option
def plan(days: int | None, output: str) -> None:
    """Say how many jobs ended before that, and change nothing."""
    from webhook_app.store import reads

    store, before = _store_and_limit(days)
    with store.reading() as connection:
        found = reads.past_retention(connection, before=before)
    since = "" if found.oldest is None else f", the oldest at {instant_text(found.oldest)}"
    text = f"{found.count} jobs ended before {instant_text(before)}{since}"
    emit(output, {"before": before, "jobs": found.count, "oldest": found.oldest}, text)


@retention.command()
@days_option
@output_option
def apply(days: int | None, output: str) -> None:
    """Erase them: at once they are gone for everyone, and a worker takes out what they hold."""
    from webhook_app.flows.erase import retire

    store, before = _store_and_limit(days)
    erased = 0
    while marked := retire(store, before=before, now=datetime.now(UTC)):
        erased += marked
        say(f"{erased} jobs")
    emit(output, {"before": before, "jobs": erased}, f"{erased} jobs are being erased")


def _store_and_limit(days: int | None) -> tuple["Store", datetime]:
    settings = settings_and_logs()
    now = datetime.now(UTC)
    before = settings.retained_from(now) if days is None else now - timedelta(days=days)
    if before is None:
        raise click.UsageError("how old must they be? --days or RETENTION_DAYS says it")
    return open_store(settings), before
