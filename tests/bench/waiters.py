"""How many requests can wait in one web process, what they cost while nothing happens, and how a stop ends them."""

import os
import signal
import time
from pathlib import Path

from tests.bench import cpu
from tests.bench.figures import Figure
from tests.bench.waiting import TARGETS, Scene, resident_kib, scene
from tests.databases import fresh_database

IDLE_S = 5.0
SETTLES_WITHIN_S = 5.0  # The last ones have come, and have yet to look.
# Threads are not what PostgreSQL's targets are for.
MOST_KIB = {"sqlite": None, "postgresql": 40.0}
MOST_IDLE_PERCENT = {"sqlite": None, "postgresql": 2.0}
GRACE_S = 25.0


def measure(kind: str, folder: Path, rounds: int, requests: int) -> list[Figure]:
    """The memory once, the idle CPU in rounds. `requests` is not used: the target says how many wait."""
    del requests
    with fresh_database(kind, folder) as url, scene(kind, url, folder) as made:
        time.sleep(SETTLES_WITHIN_S)
        waiting = made.waiters()
        kib = (resident_kib(made.server) - made.before_kib) / waiting
        idle = [_idle_percent(made) for _ in range(rounds)]
        stop_s = _stop_s(made)
    return [
        Figure("requests that wait in one process", kind, [waiting], limit=TARGETS[kind], at_least=True),
        Figure("memory for each of them", kind, [kib], "KiB", limit=MOST_KIB[kind]),
        Figure("CPU of that process while nothing happens", kind, idle, "%", limit=MOST_IDLE_PERCENT[kind]),
        Figure("from SIGTERM to the last of their answers", kind, [stop_s], "s", limit=GRACE_S),
    ]


def _idle_percent(made: Scene) -> float:
    processes = cpu.tree(made.server.roots["app"])
    before = cpu.seconds(processes)
    time.sleep(IDLE_S)
    return (cpu.seconds(processes) - before) / IDLE_S * 100


def _stop_s(made: Scene) -> float:
    stopped_at = time.monotonic()
    os.kill(made.server.roots["app"], signal.SIGTERM)
    return max(made.crowd.answered(made.track_ids)) - stopped_at
