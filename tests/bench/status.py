"""Status: `GET /v1/jobs/{track_id}` of a finished job, over a no-op under the same server."""

from pathlib import Path

from tests.bench import callback_ingest, fixtures, servers, sides
from tests.bench.figures import Figure
from tests.bench.requests import Requests
from tests.databases import fresh_database
from webhook_app.store.engine import Store

CLIENTS = 8
LIMITS = {"sqlite": 1.8, "postgresql": 2.6}


def measure(kind: str, folder: Path, rounds: int, requests: int) -> list[Figure]:
    """The ratio of CPU, and the rate. Every request is for another job."""
    both = []
    with fresh_database(kind, folder) as url:
        store = Store(url)
        headers = {"Authorization": f"Bearer {fixtures.make_key(store)}"}
        with servers.noop(kind, folder) as nothing, servers.ours(url, folder) as ours:
            ids = fixtures.make_jobs(store, requests)
            sides.send(ours, callback_ingest.callbacks(ids), 32, store=store)
            asked = Requests("GET", [f"/v1/jobs/{each}" for each in ids], [""] * len(ids), headers)
            sides.send(nothing, asked.part(0, sides.WARM_UP), 4)
            sides.send(ours, asked.part(0, sides.WARM_UP), 4)
            for _ in range(rounds):
                both.append((sides.send(nothing, asked, CLIENTS), sides.send(ours, asked, CLIENTS)))
        store.dispose()
    ratios = [real.cpu_us / floor.cpu_us for floor, real in both]
    return [
        Figure(f"status, CPU over a no-op, {CLIENTS} clients", kind, ratios, limit=LIMITS[kind]),
        Figure(f"statuses, {CLIENTS} clients", kind, [real.per_s for _, real in both], "/s"),
    ]
