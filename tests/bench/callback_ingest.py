"""Callback ingest with everything on, over a no-op under the same server: CPU per request at 1, 8 and 32 clients.

"Everything" is token, raw row, apply, pictures, events, and the sealing until its lag is 0. On PostgreSQL the
database's own CPU counts as ours.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench import fixtures, servers
from tests.databases import fresh_database
from webhook_app.domain.tokens import Tokens
from webhook_app.store.engine import Store

LIMITS = {("postgresql", 1): 8.0, ("postgresql", 32): 4.0, ("sqlite", 1): 3.0, ("sqlite", 8): 3.0, ("sqlite", 32): 3.0}
WARM_UP = 200


def load(server: servers.Server, paths: list[str], bodies: list[str], clients: int) -> dict[str, Any]:
    """Send the requests from another process; adds the server's CPU per request in microseconds."""
    before = server.cpu_s()
    asked = {"url": server.url, "paths": paths, "bodies": bodies, "clients": clients}
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.load"], input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    result: dict[str, Any] = json.loads(done.stdout)
    if set(result["statuses"]) != {"200"}:
        raise SystemExit(f"not every request was answered 200: {result['statuses']}")
    result["cpu_us"] = lambda: {
        name: (used - before.get(name, 0.0)) * 1e6 / len(paths) for name, used in server.cpu_s().items()
    }
    result["per_s"] = len(paths) / result["wall_s"]
    return result


def wait_until_sealed(store: Store) -> float:
    """Seconds until the log has no event without its number."""
    started = time.perf_counter()
    while fixtures.unsealed(store):
        time.sleep(0.02)
    return time.perf_counter() - started


def one_round(kind: str, clients: int, requests: int, folder: Path) -> dict[str, float]:
    """One measurement of each side, the no-op first, on a fresh database."""
    tokens = Tokens((servers.SECRET,))
    with fresh_database(kind, folder) as url:
        store = Store(url)
        ids = fixtures.make_jobs(store, WARM_UP + requests)
        paths = [fixtures.path_for(tokens, track_id) for track_id in ids]
        bodies = [fixtures.callback_for(track_id, n) for n, track_id in enumerate(ids)]
        with servers.noop(kind, folder) as nothing, servers.ours(url, folder) as ours:
            load(nothing, paths[:WARM_UP], bodies[:WARM_UP], 4)
            load(ours, paths[:WARM_UP], bodies[:WARM_UP], 4)
            wait_until_sealed(store)
            floor = load(nothing, paths[WARM_UP:], bodies[WARM_UP:], clients)
            floor_us = sum(floor["cpu_us"]().values())
            real = load(ours, paths[WARM_UP:], bodies[WARM_UP:], clients)
            lag = wait_until_sealed(store)
            real_us = real["cpu_us"]()
        fixtures.check(store, ids)
        store.dispose()
    return {
        "ratio": sum(real_us.values()) / floor_us,
        **{f"{name}_us": used for name, used in real_us.items()},
        "noop_us": floor_us,
        "per_s": real["per_s"],
        "p50_ms": real["p50"],
        "p99_ms": real["p99"],
        "lag_s": lag,
        "load_cpu_s": float(real["cpu_s"]),
    }


def measure(kind: str, *, rounds: int, requests: int) -> list[dict[str, Any]]:
    """Min, median and max of every figure over the rounds, for each number of clients."""
    rows = []
    for clients in (1, 8, 32):
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            results = []
            for number in range(rounds):
                place = Path(folder) / str(number)
                place.mkdir()
                results.append(one_round(kind, clients, requests // (4 if clients == 1 else 1), place))
        spread = {
            name: (min(values), statistics.median(values), max(values))
            for name in results[0]
            for values in [[result[name] for result in results]]
        }
        rows.append({"database": kind, "clients": clients, "limit": LIMITS.get((kind, clients)), **spread})
    return rows
