"""How many callbacks of 32 clients a second, with as many web processes as by default: over pgbench on the same cores,
and what is left of them on a slow disk."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.bench import fixtures, pgbench, servers, sides, slow_disk
from tests.bench.callback_ingest import callbacks
from tests.bench.figures import Figure
from tests.bench.servers import Server
from tests.databases import fresh_database
from webhook_app.store.engine import Store

CLIENTS = 32
PROCESSES = {"sqlite": 1, "postgresql": 2}  # As `WEB_CONCURRENCY` is by default.


def measure(kind: str, folder: Path, rounds: int, requests: int) -> list[Figure]:
    """Rates while the log is sealed beside them, each beside the other side's in the same rounds."""
    usually: list[float] = []
    slowly: list[float] = []
    ceilings: list[float] = []
    with fresh_database(kind, folder) as url:
        store = Store(url)
        by_default = {"WEB_CONCURRENCY": str(PROCESSES[kind])}
        with servers.ours(url, folder, by_default) as usual:
            _per_s(store, usual, sides.WARM_UP)
            with _on_a_slow_disk(store, url, folder, by_default) as slow:
                for _ in range(rounds):
                    usually.append(_per_s(store, usual, requests))
                    if slow is not None:
                        slowly.append(_per_s(store, slow, requests))
                    if kind == "postgresql" and (ceiling := pgbench.per_s(url)) is not None:
                        ceilings.append(ceiling)
        store.dispose()
    return _figures(kind, usually, slowly, ceilings)


@contextlib.contextmanager
def _on_a_slow_disk(store: Store, url: str, folder: Path, environment: dict[str, str]) -> Iterator[Server | None]:
    """A second web server on the same database, at work already: its connections are open, and what slows them is taken
    back before pgbench connects."""
    (folder / "slow").mkdir()
    with contextlib.ExitStack() as stack:
        with slow_disk.slowed(url, folder) as more:
            slow = None if more is None else stack.enter_context(servers.web(url, folder / "slow", environment | more))
            if slow is not None:
                _per_s(store, slow, sides.WARM_UP)
        yield slow


def _per_s(store: Store, server: Server, count: int) -> float:
    ids = fixtures.make_jobs(store, count)
    done = sides.send(server, callbacks(ids), CLIENTS, store=store)
    fixtures.check_callbacks(store, ids)
    return done.per_s


def _figures(kind: str, usually: list[float], slowly: list[float], ceilings: list[float]) -> list[Figure]:
    processes = "1 web process" if PROCESSES[kind] == 1 else f"{PROCESSES[kind]} web processes"
    figures = [Figure(f"callbacks, {CLIENTS} clients, {processes}", kind, usually, "/s")]
    if ceilings:
        part = [ours / ceiling for ours, ceiling in zip(usually, ceilings, strict=True)]
        figures.append(
            Figure(f"callbacks over pgbench's transactions, {CLIENTS} clients", kind, part, limit=0.3, at_least=True)
        )
    if slowly:
        kept = [slow / usual for slow, usual in zip(slowly, usually, strict=True)]
        what = f"callbacks kept when every fsync takes {slow_disk.LATER_US // 1000} ms more"
        figures.append(Figure(what, kind, kept, limit=0.5, at_least=True))
    return figures
