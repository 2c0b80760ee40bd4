"""From the commit of another process to the answer of the request that waits for it, among a whole crowd of them."""

import statistics
from pathlib import Path

from tests.bench.figures import Figure
from tests.bench.waiting import Scene, end, scene
from tests.databases import fresh_database

SAMPLES = 100
AT_ONCE = 1_000
WARM_UP = 5
LIMITS = {"sqlite": 60.0, "postgresql": 20.0}


def measure(kind: str, folder: Path, rounds: int, requests: int) -> list[Figure]:
    """One at a time, and then a thousand by one commit, as many as the crowd still has. `requests` is not used."""
    del requests
    with fresh_database(kind, folder) as url, scene(kind, url, folder) as made:
        left = list(made.track_ids)
        crowd = f"{len(left):,} waiting"
        _each(made, _take(left, WARM_UP))
        samples = min(SAMPLES, (len(left) - AT_ONCE) // rounds)
        single = [_each(made, _take(left, samples)) for _ in range(rounds)]
        many = _take(left, AT_ONCE)
        committed_at = end(made.store, many)
        last_ms = (max(made.crowd.answered(many)) - committed_at) * 1000
    p99 = [statistics.quantiles(waits, n=100)[98] for waits in single]
    return [
        Figure(f"from another process's commit to the answer, p99, {crowd}", kind, p99, "ms", limit=LIMITS[kind]),
        Figure(f"{len(many):,} woken by one commit, to the last answer", kind, [last_ms], "ms"),
    ]


def _take(left: list[str], count: int) -> list[str]:
    taken = left[:count]
    del left[:count]
    return taken


def _each(made: Scene, track_ids: list[str]) -> list[float]:
    """Milliseconds from the commit to the answer, one after another. An answer may overtake the commit's own."""
    waits = []
    for track_id in track_ids:
        committed_at = end(made.store, [track_id])
        waits.append(max(made.crowd.answered([track_id])[0] - committed_at, 0.0) * 1000)
    return waits
