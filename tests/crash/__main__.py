"""`python -m tests.crash`: the storm, as long as you like; exits with 1 when an invariant is violated."""

import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from tests import databases
from tests.crash.storm import Plan, prepared, verdicts

SHOWN = 10


@click.command()
@click.option("--jobs", default=200, show_default=True)
@click.option("--database", type=click.Choice(["sqlite", "postgresql"]), default="postgresql", show_default=True)
@click.option("--seed", type=int, default=None, help="Of the faults and the kills; drawn and printed when not given.")
@click.option("--kill-every", "kill_every_s", default=1.0, show_default=True, help="Seconds from kill to kill.")
@click.option("--clients", default=16, show_default=True, help="Clients that submit at once.")
@click.option("--in-flight", default=100, show_default=True, help="MODELSLAB_MAX_IN_FLIGHT of the run.")
@click.option("--timeout", "job_timeout_s", default=300, show_default=True, help="JOB_TIMEOUT_S of the run.")
def crash(jobs: int, database: str, seed: int | None, **rules: Any) -> None:
    """Jobs under 5 % of each fault of the provider, a kill -9 each second, PostgreSQL stopped twice; then every
    invariant is checked, once everything has ended."""
    seed = random.SystemRandom().randrange(2**31) if seed is None else seed
    click.echo(f"seed {seed}, {jobs} jobs, {database}")
    plan = Plan(
        jobs,
        seed,
        every_end=True,
        patience_s=rules["job_timeout_s"] + 300.0,
        **rules,
    )
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="webhook-app-crash-") as folder,
        prepared(plan, database, Path(folder), databases.free_port()) as storm,
    ):
        seen = storm.run()
        figures = storm.figures(seen)
    found = verdicts(seen)
    for name, value in (figures | {"wall time": f"{time.monotonic() - started:.0f} s"}).items():
        click.echo(f"{name:26} {value}")
    for name, wrong in found.items():
        click.echo(f"{name:26} {f'VIOLATED {len(wrong)} times' if wrong else 'holds'}")
        for line in wrong[:SHOWN]:
            click.echo(f"    {line}")
    sys.exit(any(found.values()))


if __name__ == "__main__":
    crash()
