"""Submit: `POST /v1/jobs`, validated, durable and sealed, over a no-op under the same server."""

from pathlib import Path

from tests.bench import fixtures, servers, sides
from tests.bench.figures import Figure
from tests.databases import fresh_database
from webhook_app.store.engine import Store

CLIENTS = 8


def measure(kind: str, folder: Path, rounds: int, requests: int) -> list[Figure]:
    """The ratio of CPU, and the rate."""
    both = []
    with fresh_database(kind, folder) as url:
        store = Store(url)
        key = fixtures.make_key(store)
        with servers.noop(kind, folder) as nothing, servers.ours(url, folder) as ours:
            first = fixtures.submits(key, sides.WARM_UP, "warm")
            sides.send(nothing, first, 4)
            sides.send(ours, first, 4, store=store)
            for number in range(rounds):
                asked = fixtures.submits(key, requests, f"round-{number}")
                both.append((sides.send(nothing, asked, CLIENTS), sides.send(ours, asked, CLIENTS, store=store)))
                fixtures.check_submits(store, f"round-{number}", requests)
        store.dispose()
    return [
        Figure(f"submit, CPU over a no-op, {CLIENTS} clients", kind, [b.cpu_us / a.cpu_us for a, b in both], limit=4.0),
        Figure(f"submits, {CLIENTS} clients", kind, [real.per_s for _, real in both], "/s"),
    ]
