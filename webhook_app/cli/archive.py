"""`archive`: is every copy there and whole, what lies there for nothing, and taking pictures out."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from webhook_app.cli.exits import Exit, Stop
from webhook_app.cli.instants import INSTANT, span
from webhook_app.cli.output import Report, output_option, say
from webhook_app.cli.start import open_parts
from webhook_app.cli.verify import verify
from webhook_app.domain.errors import DatabaseUnavailable, StorageError
from webhook_app.domain.job import Status

if TYPE_CHECKING:
    from webhook_app.flows.export import Exported
    from webhook_app.store.reads import JobFilter
    from webhook_app.wiring import Parts

# A put in progress has a temporary file for seconds.
LEAST_AGE = timedelta(hours=1)


@click.group()
def archive() -> None:
    """Verify, tidy and export the archived pictures."""


archive.add_command(verify)


@archive.command()
@click.option("--older-than", type=span, default="24h", show_default=True, help="Leave what is younger: 90m, 24h, 7d.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@output_option
def gc(older_than: timedelta, dry_run: bool, output: str) -> None:
    """Remove objects that no picture refers to, and what interrupted puts left behind.

    Each object is named as it goes; with JSON the counts stand at the end of the document, and why a run was stopped.
    """
    if older_than < LEAST_AGE:
        raise click.BadParameter("takes an hour at least: puts may be under way", param_hint="--older-than")
    report, told = Report(output, "objects"), Counter[str]()
    try:
        _collect(open_parts(), report, told, older_than, dry_run)
    except (StorageError, DatabaseUnavailable) as error:
        _end_collected(report, told, dry_run, stopped=str(error))
        raise
    _end_collected(report, told, dry_run, stopped=None)
    verb = "would be removed" if dry_run else "removed"
    said = f"{told['objects']} objects with {told['bytes']} bytes, {told['temporary']} temporary files"
    say(f"{verb}: {said}, and {told['unreferenced']} copies that no picture refers to")
    if told["failed"]:
        raise Stop(Exit.FAILED, f"{told['failed']} could not be removed; the log says why")


def _collect(parts: "Parts", report: Report, told: Counter[str], older_than: timedelta, dry_run: bool) -> None:
    from webhook_app.flows.collect import collect, collect_unreferenced

    before = _clock() - older_than
    unreferenced = collect_unreferenced(parts.store, parts.storage, dry_run=dry_run, clock=_clock)
    told.update(unreferenced=unreferenced.count, failed=unreferenced.failed)
    for each in collect(parts.store, parts.storage, before=before, dry_run=dry_run, clock=_clock):
        entry = each.entry
        if each.problem is not None:
            told["failed"] += 1
            continue
        told.update(objects=1, bytes=entry.size)
        report.add({"key": entry.key, "bytes": entry.size, "modified_at": entry.modified_at}, [entry.key])
    told["temporary"] = parts.storage.sweep(before, dry_run=dry_run)


def _end_collected(report: Report, told: Counter[str], dry_run: bool, *, stopped: str | None) -> None:
    counts = {name: told[name] for name in ("bytes", "unreferenced", "temporary", "failed")}
    report.end({"dry_run": dry_run, **counts, "stopped": stopped}, "")


@archive.command()
@click.argument("target")
@click.option("--status", multiple=True, type=click.Choice([status.value for status in Status]), help="Repeatable.")
@click.option("--tag", multiple=True, help="Repeatable.")
@click.option("--reference")
@click.option("--created-after", type=INSTANT, help="UTC, inclusive.")
@click.option("--created-before", type=INSTANT, help="UTC, exclusive.")
@click.option("--client", help="The name of the client whose jobs are meant.  [default: all]")
@click.option("--overwrite", is_flag=True, help="Write into a directory that holds something, or over a file.")
@output_option
def export(target: str, overwrite: bool, output: str, **filters: Any) -> None:
    """Write archived pictures to TARGET: a directory, a FILE.tar, or - for a tar on stdout.

    With manifest.jsonl, a line of facts for each picture, and SHA256SUMS for sha256sum -c. Ends with 1 when a picture's
    bytes are not as they should be; that one is left out and named.
    """
    from webhook_app.flows.export import export as export_pictures
    from webhook_app.wiring import bundle_at

    parts = open_parts()
    wanted = _filter(parts, **filters)
    if target == "-" and output == "json":
        raise click.BadParameter("stdout is the tar's", param_hint="--output")
    report = Report(output, "failed")
    with bundle_at(target, overwrite=overwrite) as bundle:
        told = _told_exported(export_pictures(parts.store, parts.storage, bundle, wanted), report)
    if target == "-":
        say(f"exported: {told['exported']} pictures, {told['bytes']} bytes")
    else:
        done = {name: told[name] for name in ("exported", "bytes")}
        report.end(done, "\n".join(f"{name}: {count}" for name, count in done.items()))
    if told["failed"]:
        raise Stop(Exit.FAILED, f"{told['failed']} pictures are not as they should be: webhook-app archive verify")


def _told_exported(exported: Iterable["Exported"], report: Report) -> Counter[str]:
    """How many pictures and bytes; those that are left out are told as they come."""
    told = Counter[str]()
    for picture in exported:
        if picture.problem is None:
            told.update(exported=1, bytes=picture.bytes)
        else:
            told.update(failed=1)
            say(f"left out: {picture.name} is {picture.problem}")
            report.add(asdict(picture), None)
    return told


def _filter(
    parts: "Parts", status: tuple[str, ...], tag: tuple[str, ...], client: str | None, **more: Any
) -> "JobFilter":
    from webhook_app.store import reads

    client_id = None
    if client is not None:
        with parts.store.reading() as connection:
            found = reads.client_by_name(connection, client)
        if found is None:
            raise Stop(Exit.NOT_FOUND, f"no client {client}")
        client_id = found["client_id"]
    return reads.JobFilter(client_id=client_id, statuses=status, tags=tag, **more)


def _clock() -> datetime:
    return datetime.now(UTC)
