"""`audit`: is the log what it was, and taking it out for whoever wants to check that by themselves."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from webhook_app.cli.exits import Exit, Stop
from webhook_app.cli.output import emit, output_option, say, table
from webhook_app.cli.start import database_fits, settings_and_logs

if TYPE_CHECKING:
    from webhook_app.domain.audit import Record, Report
    from webhook_app.domain.heads import PublicKey
    from webhook_app.wiring import Parts

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def audit() -> None:
    """Verify and export the log."""


@audit.command()
@click.argument("export", required=False, type=FILE)
@click.option("--jwks", type=FILE, help="Believe these keys alone: a copy of /.well-known/jwks.json that you kept.")
@click.option("--archive/--no-archive", default=True, show_default=True, help="Look at the heads in the archive too.")
@output_option
def verify(export: Path | None, jwks: Path | None, archive: bool, output: str) -> None:
    """Compute the log's chain again, and hold it against its signed heads, in the database and in the archive.

    Ends with 1 when anything is wrong, and says with which seq it begins. With EXPORT, a file of `audit export`,
    neither database nor archive are asked.
    """
    trusted = None if jwks is None else _keys_in(jwks)
    with _source(export, archive) as (log_id, keys, records):
        report = _look(log_id, keys if trusted is None else trusted, records, is_part=export is not None)
    _tell(report, output)


@contextmanager
def _source(export: Path | None, archive: bool) -> Iterator[tuple[str, "list[PublicKey]", "Iterator[Record]"]]:
    from webhook_app.flows.audit import identity, read_export, records
    from webhook_app.wiring import signer_of

    if export is None:
        parts = _parts()
        log_id, keys = identity(parts.store)
        storage = parts.storage if archive else None
        own = signer_of(parts.settings).public_key
        yield log_id, [*keys, own], records(parts.store, storage, log_id=log_id)
        return
    try:
        with export.open("rb") as file:
            yield read_export(file)
    except ValueError as error:
        raise Stop(Exit.FAILED, f"{export}: {error}") from error


def _look(log_id: str, keys: "list[PublicKey]", records: "Iterator[Record]", *, is_part: bool) -> "Report":
    from rich.console import Console
    from rich.progress import Progress

    from webhook_app.domain.audit import Auditor
    from webhook_app.signing.ed25519 import verify as verify_signature

    auditor = Auditor(log_id, keys, verify_signature, is_part=is_part)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("verifying", total=None)
        for record in records:
            auditor.look(record)
            progress.update(task, completed=auditor.report.events)
    return auditor.end()


def _tell(report: "Report", output: str) -> None:
    told = asdict(report) | {"ok": report.problem_count == 0}
    heads = ", ".join(f"{count} in the {where}" for where, count in sorted(report.heads.items())) or "none"
    lines = [f"log: {report.log_id}", f"events: {report.events}", f"last seq: {report.last_seq}"]
    lines += [f"last hash: {report.last_hash}", f"heads: {heads}"]
    if report.problems:
        lines.append(table(("seq", "problem"), [[str(each.seq), each.problem] for each in report.problems]))
    emit(output, told, "\n".join(lines))
    if report.first_bad_seq is not None:
        more = f"{report.problem_count} problems" if report.problem_count > 1 else "1 problem"
        raise Stop(Exit.FAILED, f"{more}; the first bad seq is {report.first_bad_seq}")


def _keys_in(path: Path) -> "list[PublicKey]":
    from webhook_app.domain.heads import read_key

    try:
        return [read_key(key) for key in json.loads(path.read_bytes())["keys"]]
    except (ValueError, KeyError, TypeError) as error:
        raise click.BadParameter("is not a set of Ed25519 keys", param_hint="--jwks") from error


@audit.command()
@click.argument("target", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--after", type=click.IntRange(0), default=0, show_default=True, help="Begin behind this seq.")
def export(target: Path, after: int) -> None:
    """Write the log to TARGET, - for stdout: a JSON line for each key, event and signed head, in order.

    `audit verify TARGET` checks it anywhere, and so can anybody else: README, "A log to trust".
    """
    from webhook_app.flows.audit import exported, identity, records
    from webhook_app.wiring import signer_of

    parts = _parts()
    log_id, keys = identity(parts.store)
    found = records(parts.store, None, log_id=log_id, after=after)
    known = keys or [signer_of(parts.settings).public_key]
    lines = 0
    with _opened(target) as file:
        for line in exported(log_id, known, found, now=datetime.now(UTC)):
            file.write(line)
            lines += 1
    say(f"exported: {lines} lines")


@contextmanager
def _opened(target: Path) -> Iterator[IO[bytes]]:
    """Where the export goes; a file has its name only once it is whole."""
    if str(target) == "-":
        yield sys.stdout.buffer
        return
    temporary = target.with_name(f".{target.name}.part")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(target)
    except OSError as error:
        raise Stop(Exit.FAILED, f"{target} cannot be written ({error.strerror})") from error
    finally:
        temporary.unlink(missing_ok=True)


def _parts() -> "Parts":
    from webhook_app.wiring import build

    settings = settings_and_logs()
    database_fits(settings)
    return build(settings)
