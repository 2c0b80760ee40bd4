"""`archive verify`: is every copy there and whole, and what lies there besides; told as it is found, so that no run is
too long for the memory."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from webhook_app.cli.exits import Exit, Stop
from webhook_app.cli.output import Report, output_option, say
from webhook_app.cli.start import open_parts
from webhook_app.domain.errors import DatabaseUnavailable, StorageError

if TYPE_CHECKING:
    from webhook_app.flows.look import Means
    from webhook_app.flows.verify import Finding
    from webhook_app.storage.port import StoredObject
    from webhook_app.store.engine import Store
    from webhook_app.wiring import Parts

COLUMNS = (("sha256", 64), ("outcome", 17), ("now", 11), ("pictures", 8), ("first track_id", 36), ("problem", 0))
DIGEST = re.compile(r"[0-9a-f]{0,64}")
# A younger object may be one that is just being put.
LEFT_BEHIND = timedelta(hours=1)
ORPHANED = "orphaned"


@click.command()
@click.option("--all", "everything", is_flag=True, help="Go on to the end, slice by slice.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=1000, show_default=True, help="Objects in a slice.")
@click.option("--cursor", default="", metavar="SHA256", help="Begin behind this one: the last slice's cursor.")
@click.option("--repair/--no-repair", default=True, show_default=True, help="Mend what can be mended.")
@output_option
def verify(everything: bool, limit: int, cursor: str, repair: bool, output: str) -> None:
    """Read copies again and compare them with their digests; ends with 1 when one is wrong and stays so.

    Finds what is missing, altered or orphaned. Missing and altered bytes are fetched again from the picture's source
    while that lives, thumbnails are made again from the bytes. What cannot be mended is lost: its pictures say so from
    then on, and are archived again when a later verification finds the bytes restored. Orphaned is what belongs to no
    picture and is older than an hour: it is named and left to `archive gc`, and is no failure.

    Findings are written as they come; a run that the archive or the database ends names the cursor to go on from.
    """
    if not DIGEST.fullmatch(cursor):
        raise click.BadParameter("is not the beginning of a digest", param_hint="--cursor")
    parts = open_parts()
    run = Verification(parts.store, _means(parts), repair, Report(output, "findings", COLUMNS), cursor)
    try:
        with _progress(parts, everything) as advance:
            while not run.slice(limit, advance) and everything:
                pass
    except (StorageError, DatabaseUnavailable) as error:
        run.end(stopped=str(error))
        raise
    run.end()
    if run.counts[ORPHANED]:
        say(f"{run.counts[ORPHANED]} objects belong to no picture: webhook-app archive gc")
    if run.wrong:
        raise Stop(Exit.FAILED, f"{run.wrong} of {run.checked} objects are not as they should be")


@dataclass
class Verification:
    """One run over slices; `cursor` None: it came to the end."""

    store: "Store"
    means: "Means"
    repair: bool
    report: Report
    cursor: str | None
    checked: int = 0
    wrong: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)

    def slice(self, limit: int, advance: Callable[[], None]) -> bool:
        """Verify the next slice; True when it was the last one."""
        from webhook_app.flows.orphans import orphans
        from webhook_app.flows.verify import slice_after

        after = self.cursor or ""
        blobs = slice_after(self.store, after, limit=limit)
        for blob in blobs:
            self._verify_one(blob)
            advance()
        until = blobs[-1].sha256 if len(blobs) == limit else None
        before = datetime.now(UTC) - LEFT_BEHIND
        for entry in orphans(self.store, self.means.storage, after=after, until=until, before=before):
            self._tell_orphan(entry)
        self.cursor = until
        return until is None

    def _verify_one(self, blob: Any) -> None:
        from webhook_app.flows.verify import verify as verify_one

        finding = verify_one(self.means, blob, repair=self.repair)
        self.checked += 1
        self.counts["sound" if finding is None else finding.outcome.value] += 1
        if finding is not None:
            self.wrong += finding.is_wrong
            self.told.update(repaired=finding.repaired, lost=finding.lost, found_again=finding.found_again)
            self.report.add(asdict(finding), _line(finding))

    def _tell_orphan(self, entry: "StoredObject") -> None:
        from webhook_app.domain.keys import digest_in

        self.counts[ORPHANED] += 1
        sha256 = digest_in(entry.key)
        facts = {"sha256": sha256, "outcome": ORPHANED, "key": entry.key, "bytes": entry.size}
        self.report.add(
            facts | {"modified_at": entry.modified_at}, [sha256 or "", ORPHANED, "left", "0", "", entry.key]
        )

    def end(self, *, stopped: str | None = None) -> None:
        """What is known at the end; `stopped` says why that came too early."""
        rest = {
            "checked": self.checked,
            "counts": dict(sorted(self.counts.items())),
            "repaired": self.told["repaired"],
            "pictures_lost": self.told["lost"],
            "pictures_found_again": self.told["found_again"],
            "next_cursor": self.cursor,
            "stopped": stopped,
        }
        lines = [f"checked: {self.checked}", *(f"{name}: {count}" for name, count in sorted(self.counts.items()))]
        lines += [f"{name}: {rest[name]}" for name in ("repaired", "pictures_lost", "pictures_found_again")]
        self.report.end(rest, "\n".join([*lines, *([f"next_cursor: {self.cursor}"] if self.cursor else [])]))


def _line(finding: "Finding") -> list[str]:
    if finding.outcome == "sound":
        now = "found again"
    else:
        now = "repaired" if finding.repaired else "lost" if finding.lost else "wrong"
    first = finding.track_ids[0] if finding.track_ids else ""
    return [finding.sha256, finding.outcome.value, now, str(finding.pictures), first, finding.problem or ""]


@contextmanager
def _progress(parts: "Parts", shown: bool) -> Iterator[Callable[[], None]]:
    """A function to call after each object; with a bar on stderr where it is shown. Results go to stdout meanwhile."""
    from rich.console import Console
    from rich.progress import Progress

    from webhook_app.flows.verify import count

    with Progress(console=Console(stderr=True), disable=not shown, redirect_stdout=False) as progress:
        task = progress.add_task("verifying", total=count(parts.store) if shown else None)
        yield lambda: progress.advance(task)


def _means(parts: "Parts") -> "Means":
    from webhook_app.flows.look import Means
    from webhook_app.wiring import policy

    return Means(
        store=parts.store,
        storage=parts.storage,
        fetcher=parts.fetcher,
        inspector=parts.inspector,
        policy=policy(parts),
        clock=lambda: datetime.now(UTC),
    )
