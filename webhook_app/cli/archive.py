"""`archive`: is every copy there and whole, what lies there for nothing, and taking pictures out."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from webhook_app.cli.exits import Exit, Stop
from webhook_app.cli.instants import INSTANT, span
from webhook_app.cli.output import emit, output_option, say, table
from webhook_app.cli.start import database_fits, settings_and_logs
from webhook_app.domain.job import Status

if TYPE_CHECKING:
    from webhook_app.flows.export import Exported
    from webhook_app.flows.look import Means
    from webhook_app.flows.verify import Finding
    from webhook_app.store.reads import JobFilter
    from webhook_app.wiring import Parts

FINDINGS_HEAD = ("sha256", "outcome", "now", "pictures", "first track_id", "problem")
DIGEST = re.compile(r"[0-9a-f]{0,64}")
# A put in progress has a temporary file for seconds.
LEAST_AGE = timedelta(hours=1)


@click.group()
def archive() -> None:
    """Verify, tidy and export the archived pictures."""


@archive.command()
@click.option("--all", "everything", is_flag=True, help="Go on to the end, slice by slice.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=1000, show_default=True, help="Objects in a slice.")
@click.option("--cursor", default="", metavar="SHA256", help="Begin behind this one: the last slice's cursor.")
@click.option("--repair/--no-repair", default=True, show_default=True, help="Mend what can be mended.")
@output_option
def verify(everything: bool, limit: int, cursor: str, repair: bool, output: str) -> None:
    """Read copies again and compare them with their digests; ends with 1 when one is wrong and stays so.

    Bytes are fetched again from the picture's source while that lives, thumbnails are made again from the bytes. What
    cannot be mended is lost: its pictures say so from then on, and are archived again when a later verification finds
    the bytes restored.
    """
    from webhook_app.flows.verify import slice_after

    if not DIGEST.fullmatch(cursor):
        raise click.BadParameter("is not the beginning of a digest", param_hint="--cursor")
    parts = _parts()
    means, counts, findings = _means(parts), Counter[str](), list["Finding"]()
    with _progress(parts, everything) as advance:
        while blobs := slice_after(parts.store, cursor, limit=limit):
            for blob in blobs:
                _verify_one(means, blob, repair, counts, findings)
                advance()
            cursor = blobs[-1].sha256
            if not everything:
                break
    is_over = everything or len(blobs) < limit
    _tell_verified(output, counts, findings, None if is_over else cursor)


def _verify_one(means: "Means", blob: Any, repair: bool, counts: Counter[str], findings: list["Finding"]) -> None:
    from webhook_app.flows.look import Found
    from webhook_app.flows.verify import verify

    finding = verify(means, blob, repair=repair)
    counts[Found.SOUND if finding is None else finding.outcome] += 1
    if finding is not None:
        findings.append(finding)


def _tell_verified(output: str, counts: Counter[str], findings: list["Finding"], cursor: str | None) -> None:
    wrong = sum(finding.is_wrong for finding in findings)
    report = {
        "checked": counts.total(),
        "counts": dict(sorted(counts.items())),
        "repaired": sum(finding.repaired for finding in findings),
        "pictures_lost": sum(finding.lost for finding in findings),
        "pictures_found_again": sum(finding.found_again for finding in findings),
        "findings": [asdict(finding) for finding in findings],
        "next_cursor": cursor,
    }
    lines = [table(FINDINGS_HEAD, [_finding_line(finding) for finding in findings])] if findings else []
    lines += [f"checked: {counts.total()}", *(f"{name}: {count}" for name, count in sorted(counts.items()))]
    lines += [f"{name}: {report[name]}" for name in ("repaired", "pictures_lost", "pictures_found_again")]
    emit(output, report, "\n".join([*lines, *([f"next_cursor: {cursor}"] if cursor else [])]))
    if wrong:
        raise Stop(Exit.FAILED, f"{wrong} of {counts.total()} objects are not as they should be")


def _finding_line(finding: "Finding") -> list[str]:
    if finding.outcome == "sound":
        now = "found again"
    else:
        now = "repaired" if finding.repaired else "lost" if finding.lost else "wrong"
    first = finding.track_ids[0] if finding.track_ids else ""
    return [finding.sha256, finding.outcome.value, now, str(finding.pictures), first, finding.problem or ""]


@contextmanager
def _progress(parts: "Parts", shown: bool) -> Iterator[Any]:
    """A function to call after each object; with a bar on stderr where it is shown."""
    from rich.console import Console
    from rich.progress import Progress

    from webhook_app.flows.verify import count

    with Progress(console=Console(stderr=True), disable=not shown) as progress:
        task = progress.add_task("verifying", total=count(parts.store) if shown else None)
        yield lambda: progress.advance(task)


@archive.command()
@click.option("--older-than", type=span, default="24h", show_default=True, help="Leave what is younger: 90m, 24h, 7d.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@output_option
def gc(older_than: timedelta, dry_run: bool, output: str) -> None:
    """Remove objects that no picture refers to, and what interrupted puts left behind."""
    from webhook_app.flows.collect import collect, collect_unreferenced

    if older_than < LEAST_AGE:
        raise click.BadParameter("takes an hour at least: puts may be under way", param_hint="--older-than")
    parts, now = _parts(), _clock()
    before = now - older_than
    unreferenced = collect_unreferenced(parts.store, parts.storage, dry_run=dry_run, clock=_clock)
    removed = list(collect(parts.store, parts.storage, before=before, dry_run=dry_run, now=now))
    temporary = parts.storage.sweep(before, dry_run=dry_run)
    report = {
        "dry_run": dry_run,
        "objects": [{"key": entry.key, "bytes": entry.size, "modified_at": entry.modified_at} for entry in removed],
        "bytes": sum(entry.size for entry in removed),
        "unreferenced": unreferenced,
        "temporary": temporary,
    }
    emit(output, report, "\n".join(entry.key for entry in removed))
    verb = "would be removed" if dry_run else "removed"
    said = f"{len(removed)} objects with {report['bytes']} bytes, {temporary} temporary files"
    say(f"{verb}: {said}, and {unreferenced} copies that no picture refers to")


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

    parts = _parts()
    wanted = _filter(parts, **filters)
    if target == "-" and output == "json":
        raise click.BadParameter("stdout is the tar's", param_hint="--output")
    with bundle_at(target, overwrite=overwrite) as bundle:
        told = _told_exported(export_pictures(parts.store, parts.storage, bundle, wanted))
    if target == "-":
        say(f"exported: {told['exported']} pictures, {told['bytes']} bytes")
    else:
        emit(output, told, f"exported: {told['exported']}\nbytes: {told['bytes']}")
    if told["failed"]:
        raise Stop(Exit.FAILED, f"{len(told['failed'])} pictures are not as they should be: webhook-app archive verify")


def _told_exported(exported: Iterable["Exported"]) -> dict[str, Any]:
    told: dict[str, Any] = {"exported": 0, "bytes": 0, "failed": []}
    for picture in exported:
        if picture.problem is None:
            told["exported"] += 1
            told["bytes"] += picture.bytes
        else:
            say(f"left out: {picture.name} is {picture.problem}")
            told["failed"].append(asdict(picture))
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


def _means(parts: "Parts") -> "Means":
    from webhook_app.flows.look import Means
    from webhook_app.wiring import policy

    return Means(
        store=parts.store,
        storage=parts.storage,
        fetcher=parts.fetcher,
        inspector=parts.inspector,
        policy=policy(parts),
        clock=_clock,
    )


def _clock() -> datetime:
    return datetime.now(UTC)


def _parts() -> "Parts":
    from webhook_app.wiring import build

    settings = settings_and_logs()
    database_fits(settings)
    return build(settings)
