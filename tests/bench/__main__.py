"""`python -m tests.bench`: runs the benchmarks, prints a table with each target's verdict, and writes JSON."""

import argparse
import json
import sys
from pathlib import Path

from tests.bench import callback_ingest


def main() -> None:
    """Measure and report; the exit code says nothing about speed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    parser.add_argument("--json", type=Path, help="write every figure there")
    asked = parser.parse_args()
    rows = []
    print("callback ingest: CPU per request over a no-op (min / median / max of the rounds)")
    for kind in asked.database or ["sqlite", "postgresql"]:
        for row in callback_ingest.measure(kind, rounds=asked.rounds, requests=asked.requests):
            rows.append(row)
            print(_line(row))
            sys.stdout.flush()
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1))


def _line(row: dict[str, object]) -> str:
    def spread(name: str) -> str:
        least, median, most = row[name]  # type: ignore[misc]  # A triple by construction.
        return f"{least:.2f} / {median:.2f} / {most:.2f}"

    limit = row["limit"]
    verdict = "no limit" if limit is None else "ok" if row["ratio"][1] <= limit else "TOO SLOW"  # type: ignore[index]
    return (
        f"{row['database']:>10} {row['clients']:>3} clients  ratio {spread('ratio')} (limit {limit}: {verdict})  "
        f"per second {spread('per_s')}  p50 ms {spread('p50_ms')}  p99 ms {spread('p99_ms')}  lag s {spread('lag_s')}"
    )


if __name__ == "__main__":
    main()
