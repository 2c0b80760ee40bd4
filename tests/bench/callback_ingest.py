"""Callback ingest with everything on, over a no-op under the same server.

"Everything" is token, raw row, apply, pictures, events, and the sealing until its lag is 0. On PostgreSQL the
database's own CPU counts as ours.
"""

from collections.abc import Sequence
from pathlib import Path

from tests.bench import fixtures, servers, sides
from tests.bench.figures import Figure
from tests.bench.requests import Requests
from tests.bench.sides import Side
from tests.databases import fresh_database
from webhook_app.domain.tokens import Tokens
from webhook_app.store.engine import Store

LIMITS = {("postgresql", 1): 8.0, ("postgresql", 32): 4.0, ("sqlite", 1): 3.0, ("sqlite", 8): 3.0, ("sqlite", 32): 3.0}
CLIENTS = (1, 8, 32)
Round = tuple[Side, Side]  # The no-op's and ours.


def callbacks(ids: Sequence[str]) -> Requests:
    """A callback for each job, with a body of its own."""
    tokens = Tokens((servers.SECRET,))
    paths = [fixtures.path_for(tokens, track_id) for track_id in ids]
    return Requests("POST", paths, [fixtures.callback_for(track_id, n) for n, track_id in enumerate(ids)])


def measure(kind: str, folder: Path, rounds: int, requests: int) -> list[Figure]:
    """Ratios at 1, 8 and 32 clients, and latency, all in the same rounds."""
    counts = {clients: requests // 4 if clients == 1 else requests for clients in CLIENTS}
    found: dict[int, list[Round]] = {clients: [] for clients in CLIENTS}
    with fresh_database(kind, folder) as url:
        store = Store(url)
        with servers.noop(kind, folder) as nothing, servers.ours(url, folder) as ours:
            warm_up(store, nothing, ours)
            for _ in range(rounds):
                for clients, count in counts.items():
                    found[clients].append(_round(store, nothing, ours, count, clients))
        store.dispose()
    return _figures(kind, found)


def warm_up(store: Store, nothing: servers.Server, ours: servers.Server) -> None:
    """Imports, connections, prepared statements: paid once, and not what is measured."""
    first = callbacks(fixtures.make_jobs(store, sides.WARM_UP))
    sides.send(nothing, first, 4)
    sides.send(ours, first, 4, store=store)


def _round(store: Store, nothing: servers.Server, ours: servers.Server, count: int, clients: int) -> Round:
    ids = fixtures.make_jobs(store, count)
    asked = callbacks(ids)
    both = sides.send(nothing, asked, clients), sides.send(ours, asked, clients, store=store)
    fixtures.check_callbacks(store, ids)
    return both


def _figures(kind: str, found: dict[int, list[Round]]) -> list[Figure]:
    figures = []
    for clients, done in found.items():
        many = "1 client" if clients == 1 else f"{clients} clients"
        ratios = [real.cpu_us / floor.cpu_us for floor, real in done]
        figures.append(Figure(f"callback, CPU over a no-op, {many}", kind, ratios, limit=LIMITS.get((kind, clients))))
    most = [real for _, real in found[32]]
    floors = [floor for floor, _ in found[32]]
    return [
        *figures,
        Figure("callbacks, 32 clients", kind, [real.per_s for real in most], "/s"),
        Figure("callbacks, wall time per request over the no-op, 32 clients", kind, _over(floors, most)),
        Figure("callback, median latency, 32 clients", kind, [real.p50_ms for real in most], "ms"),
        Figure("callback, p99 over p50, 32 clients", kind, [real.p99_ms / real.p50_ms for real in most], limit=5.0),
        Figure("callback, CPU of the load generator, 32 clients", kind, [real.load_us for real in most], "µs"),
    ]


def _over(floors: list[Side], reals: list[Side]) -> list[float]:
    return [floor.per_s / real.per_s for floor, real in zip(floors, reals, strict=True)]
