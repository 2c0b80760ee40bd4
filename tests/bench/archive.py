"""The archive: CPU for a picture of 1.4 MB, from claim to record, over `wget`, `sha256sum` and `sync` of it; and the
memory while four files of 50 MB come in at once."""

import contextlib
import functools
import itertools
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from sqlalchemy import make_url

from tests.bench import cpu, fixtures
from tests.bench.figures import Figure
from tests.bench.painting import painted
from tests.databases import fresh_database
from webhook_app.domain.job import OnUnconfirmed
from webhook_app.domain.outcome import Finished, Picture, Witness
from webhook_app.flows.apply import apply
from webhook_app.flows.archive import ImageClaim, archive_one, claim_images
from webhook_app.flows.ledger import Report
from webhook_app.flows.policy import Policy
from webhook_app.net.fetch import GuardedFetcher
from webhook_app.pictures.children import DecoderPool
from webhook_app.pictures.inspect import PictureInspector
from webhook_app.storage.local import LocalStorage
from webhook_app.store import images
from webhook_app.store.engine import Store

PICTURES = 64
AT_ONCE = 4
LARGE_BYTES = 50 * 1024 * 1024
LARGEST = 64 * 1024 * 1024
MEGABYTE_KB = 1024


def clock() -> datetime:
    return datetime.now(UTC)


class Pipeline:
    """Everything that the archive's tick works with, in this process and its decoding children."""

    def __init__(self, url: str, folder: Path, host_port: str) -> None:
        self.store, self._base = Store(url), f"http://{host_port}"
        self._database = None if url.startswith("sqlite") else make_url(url).database
        self._pool = DecoderPool()
        self._inspector = PictureInspector(LARGEST, pool=self._pool)
        self._fetcher = GuardedFetcher(frozenset(), frozenset({host_port}), max_bytes=LARGEST)
        self._storage = LocalStorage(folder / "archive")
        self._policy = Policy(3, timedelta(seconds=120), OnUnconfirmed.REPEAT, 100, 5, self._fetcher.host_known)

    def named(self, names: list[str]) -> None:
        """Jobs whose pictures the provider has just named."""
        ids = fixtures.make_jobs(self.store, len(names))
        found = [Finished((Picture(0, (f"{self._base}/{name}",)),), "1") for name in names]
        reports = [Report(track_id, 1, Witness.POLL, each) for track_id, each in zip(ids, found, strict=True)]
        with self.store.writing() as connection:
            apply(connection, reports, policy=self._policy, now=clock())

    def archive(self, count: int) -> None:
        """Copy them all, as many at once as a worker does. Ends the program when one was not archived."""
        claims = claim_images(self.store, owner="bench", limit=count, policy=self._policy, now=clock())
        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(self._copy, claims))
        with self.store.reading() as connection:
            left = len(images.near_their_end(connection, before=clock() + timedelta(days=2), limit=count))
        if len(claims) != count or left:
            raise SystemExit(f"something was lost: {count} pictures, {len(claims)} claimed, {left} not archived")

    def _copy(self, claim: ImageClaim) -> None:
        archive_one(
            self.store,
            fetcher=self._fetcher,
            inspector=self._inspector,
            storage=self._storage,
            claim=claim,
            clock=clock,
        )

    def cpu_s(self) -> float:
        database = cpu.postgresql(self._database) if self._database else set()
        return cpu.seconds({os.getpid(), *self._pool.pids()} | database)

    def close(self) -> None:
        self._pool.close()
        self.store.dispose()


def measure(kind: str, folder: Path, rounds: int, requests: int) -> list[Figure]:
    """The ratio of CPU for a picture, and the most memory of the archiving process. `requests` is not used."""
    del requests
    names = (f"{n}.png" for n in itertools.count())
    ratios: list[float] = []
    rates: list[float] = []
    memory: list[float] = []
    source = folder / "source"
    source.mkdir()
    with fresh_database(kind, folder) as url, _serving(source) as host_port:
        pipeline = Pipeline(url, folder, host_port)
        for _ in range(rounds + 1):
            fresh = painted(source, list(itertools.islice(names, PICTURES)))
            pipeline.named(fresh)
            before, started = pipeline.cpu_s(), time.perf_counter()
            pipeline.archive(PICTURES)
            ours, took = pipeline.cpu_s() - before, time.perf_counter() - started
            rates.append(PICTURES / took)
            ratios.append(ours / _floor(folder, host_port, fresh))
        for _ in range(rounds):
            fresh = painted(source, list(itertools.islice(names, AT_ONCE)), LARGE_BYTES)
            pipeline.named(fresh)
            _forget_peak()
            pipeline.archive(AT_ONCE)
            memory.append(_peak_kb() / MEGABYTE_KB)
        pipeline.close()
    what = f"archive, CPU for a picture of 1.4 MB over {_tool()} + sha256sum + sync"
    large = f"archive, memory while {AT_ONCE} files of 50 MB come in"
    return [
        Figure(what, kind, ratios[1:], limit=4.5),  # The first round started the children.
        Figure("pictures of 1.4 MB archived", kind, rates[1:], "/s"),
        Figure(large, kind, memory, "MB", limit=150.0),
    ]


@contextlib.contextmanager
def _serving(folder: Path) -> Iterator[str]:
    """The provider's object store, in a process of its own, so that its CPU is on nobody's bill."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        handler = functools.partial(_Quiet, directory=str(folder))
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        os.write(writer, str(server.server_address[1]).encode())
        os.close(writer)
        server.serve_forever()
    os.close(writer)
    port = os.read(reader, 16).decode()
    os.close(reader)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


def _tool() -> str:
    return "wget" if shutil.which("wget") else "curl"


def _floor(folder: Path, host_port: str, names: list[str]) -> float:
    """CPU seconds of three programs for each of these files."""
    fetch = "wget -q -O" if _tool() == "wget" else "curl -sS -o"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for name in names:
        target = folder / f"plain-{name}"
        command = f"{fetch} {target} http://{host_port}/{name} && sha256sum {target} && sync {target}"
        subprocess.run(["/bin/sh", "-c", command], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _forget_peak() -> None:
    """The kernel's high-water mark starts anew."""
    Path("/proc/self/clear_refs").write_text("5")


def _peak_kb() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
