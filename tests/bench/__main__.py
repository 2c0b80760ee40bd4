"""`python -m tests.bench [NAME ...]`: measures, prints a table with each target's verdict, and writes JSON."""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench import (
    archive,
    callback_ingest,
    feed,
    figures,
    serving,
    status,
    submit,
    throughput,
    to_provider,
    waiters,
    wakeup,
)
from tests.bench.figures import Figure

README = Path(__file__).resolve().parents[2] / "README.md"
# Each measures on one kind of database, in a folder of its own: (kind, folder, rounds, requests).
BENCHMARKS: dict[str, Callable[[str, Path, int, int], list[Figure]]] = {
    "callback_ingest": callback_ingest.measure,
    "throughput": throughput.measure,
    "feed": feed.measure,
    "submit": submit.measure,
    "status": status.measure,
    "serving": serving.measure,
    "to_provider": to_provider.measure,
    "waiters": waiters.measure,
    "wakeup": wakeup.measure,
    "archive": archive.measure,
}


def main() -> None:
    """Measure and report; the exit code says nothing about speed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all when none is given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=2000, help="of one round with many clients")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    parser.add_argument("--json", type=Path, help="write every figure there")
    parser.add_argument("--markdown", action="store_true", help="print the README's table at the end")
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(BENCHMARKS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    if asked.readme and (asked.names or asked.database):
        parser.error("--readme wants the figures of a whole run")
    found = measure(asked.names or list(BENCHMARKS), asked.database or ["sqlite", "postgresql"], asked)
    if asked.json:
        asked.json.write_text(json.dumps([each.as_json() for each in found], indent=1))
    if asked.markdown:
        print(figures.markdown(found))
    if asked.readme:
        figures.rewrite(README, found)


def measure(names: list[str], kinds: list[str], asked: argparse.Namespace) -> list[Figure]:
    """Run the benchmarks one after another, and print each figure as it is known."""
    found: list[Figure] = []
    for name in names:
        for kind in kinds:
            started = time.monotonic()
            with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                fresh = BENCHMARKS[name](kind, Path(folder), asked.rounds, asked.requests)
            print(f"-- {name}, {kind}: {time.monotonic() - started:.0f} s", flush=True)
            for figure in fresh:
                print(figures.line(figure), flush=True)
            found += fresh
    return found


if __name__ == "__main__":
    main()
