"""The ceiling of callback ingest: pgbench doing one raw insert and one update in a transaction, on the same cores."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from sqlalchemy import create_engine, make_url, text

from webhook_app.store.engine import normalised

CLIENTS = 32
SECONDS = 3
ROWS = 20_000
BODY = "x" * 600  # As long as a callback's body.
TABLES = (
    "CREATE TABLE IF NOT EXISTS bench_raw (id bigserial PRIMARY KEY, job int, body text)",
    "CREATE TABLE IF NOT EXISTS bench_jobs (id int PRIMARY KEY, version int NOT NULL)",
    f"INSERT INTO bench_jobs SELECT n, 1 FROM generate_series(1, {ROWS}) n ON CONFLICT DO NOTHING",
)
SCRIPT = f"""\\set job random(1, {ROWS})
BEGIN;
INSERT INTO bench_raw (job, body) VALUES (:job, '{BODY}');
UPDATE bench_jobs SET version = version + 1 WHERE id = :job;
COMMIT;
"""


def program() -> str | None:
    """pgbench, which comes with PostgreSQL; None where there is none."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/pgbench"), reverse=True)
    return str(installed[0]) if installed else shutil.which("pgbench")


def per_s(url: str) -> float | None:
    """Transactions per second in this database, in tables of its own; None, said on stdout, without pgbench."""
    found = program()
    if found is None:
        print("no pgbench here: the ceiling is not measured")
        return None
    engine = create_engine(normalised(url))
    with engine.begin() as connection:
        for statement in TABLES:
            connection.execute(text(statement))
    engine.dispose()
    place = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(SCRIPT)
        script.flush()
        command = [found, "-n", "-M", "prepared", "-c", str(CLIENTS), "-j", "2", "-T", str(SECONDS)]
        command += ["-f", script.name, place]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    rate = re.search(r"^tps = ([0-9.]+)", done.stdout, re.MULTILINE)
    if rate is None:
        raise SystemExit(f"pgbench says no rate:\n{done.stdout}")
    return float(rate[1])
