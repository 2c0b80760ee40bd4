"""The log: from the commit of a change to its numbered event and to who follows it, and the sealer's rate over that of
the callbacks."""

import statistics
import time
from itertools import islice
from pathlib import Path
from queue import Queue
from threading import Thread

from sqlalchemy import func, select

from tests.bench import callback_ingest, fixtures, servers, sides
from tests.bench.figures import Figure
from tests.databases import fresh_database
from webhook_app.client import Client
from webhook_app.flows.seal import seal
from webhook_app.store.engine import Store
from webhook_app.store.tables import EventRow

SAMPLES = 100
CLIENTS = 32
PATIENCE_S = 30.0


def measure(kind: str, folder: Path, rounds: int, requests: int) -> list[Figure]:
    """The wait for the number is measured with a real worker, which the commit wakes; the rate without one."""
    waits: list[float] = []
    told: list[float] = []
    rates: list[float] = []
    with fresh_database(kind, folder) as url:
        store = Store(url)
        key = fixtures.make_key(store)
        with servers.web(url, folder) as server:
            with servers.worker(url, folder):
                waits += [_p99_ms(store, server, key, f"round-{number}") for number in range(rounds)]
                told = _told_p99_ms(store, server, key, rounds)
            rates += [_rate(store, server, requests) for _ in range(rounds)]
        store.dispose()
    return [
        Figure("from a commit to its numbered event, p99, one change at a time", kind, waits, "ms", limit=100.0),
        Figure("from a commit to the reader of a stream, p99, one change at a time", kind, told, "ms", limit=100.0),
        Figure("sealer's rate over the rate of the callbacks, 32 clients", kind, rates, limit=2.0, at_least=True),
    ]


def _p99_ms(store: Store, server: servers.Server, key: str, name: str) -> float:
    asked = fixtures.submits(key, SAMPLES + 5, name)
    waits = []
    for n in range(SAMPLES + 5):
        sides.drive_one(server.url, asked.part(n, n + 1))
        answered = time.perf_counter()
        while fixtures.unsealed(store):
            time.sleep(0.001)
        waits.append((time.perf_counter() - answered) * 1000)
    # The first ones wait for the worker to start.
    return statistics.quantiles(waits[5:], n=100)[98]


def _told_p99_ms(store: Store, server: servers.Server, key: str, rounds: int) -> list[float]:
    """With one reader, on a connection of its own, who was there before."""
    arrived: Queue[float] = Queue()
    with store.reading() as connection:
        last = connection.scalar(select(func.max(EventRow.seq))) or 0

    def follow() -> None:
        with Client(server.url, key) as client:
            # No further: it would follow the next measurement too, in this very process.
            for _ in islice(client.stream(after=last), rounds * (SAMPLES + 5)):
                arrived.put(time.perf_counter())

    Thread(target=follow, daemon=True).start()
    found = []
    for number in range(rounds):
        asked = fixtures.submits(key, SAMPLES + 5, f"told-{number}")
        waits = []
        for n in range(SAMPLES + 5):
            sides.drive_one(server.url, asked.part(n, n + 1))
            answered = time.perf_counter()
            # The reader may hear of it before the one who asked.
            waits.append(max(arrived.get(timeout=PATIENCE_S) - answered, 0.0) * 1000)
        found.append(statistics.quantiles(waits[5:], n=100)[98])
    return found


def _rate(store: Store, server: servers.Server, requests: int) -> float:
    """Events per second of one sealer, over those that the callbacks make. What they left is sealed, nothing else."""
    ids = fixtures.make_jobs(store, requests)
    done = sides.send(server, callback_ingest.callbacks(ids), CLIENTS)
    waiting = fixtures.unsealed(store)
    started = time.perf_counter()
    while seal(store):
        pass
    sealed_per_s = waiting / (time.perf_counter() - started)
    with store.reading() as connection:
        if connection.scalar(select(func.max(EventRow.seq))) != connection.scalar(select(func.count(EventRow.seq))):
            raise SystemExit("the log's numbers have gaps")
    return sealed_per_s / (done.per_s * waiting / requests)
