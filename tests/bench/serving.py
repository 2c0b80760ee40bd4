"""Status while pictures of 50 MB are served: the latency of `GET /v1/jobs/{track_id}` beside four clients that download
one after another, out of a directory and out of a bucket.

As a program of its own it is those clients: it downloads `URL` until its standard input ends, and says how many bytes.
"""

import hashlib
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import insert, select, update

from tests import buckets
from tests.bench import fixtures, servers, sides
from tests.bench.figures import Figure
from tests.bench.requests import Requests
from tests.databases import fresh_database
from webhook_app.domain.keys import blob_key
from webhook_app.settings import load_settings
from webhook_app.store.engine import Store
from webhook_app.store.tables import Blob, Image
from webhook_app.wiring import storage_of

PICTURE = 50 * 1024 * 1024
PLACES = ("directory", "bucket")
CLIENTS, DOWNLOADS = 4, 4
LIMIT_MS = 20.0


def measure(kind: str, folder: Path, rounds: int, requests: int) -> list[Figure]:
    """The 99th percentile in ms without and with downloads beside it, and what was downloaded meanwhile."""
    return [figure for place in PLACES for figure in _measure_at(place, kind, folder / place, rounds, requests)]


def _measure_at(place: str, kind: str, folder: Path, rounds: int, requests: int) -> list[Figure]:
    beside, alone, rates = [], [], []
    folder.mkdir()
    with fresh_database(kind, folder) as url, _archive(place, folder) as archive:
        store = Store(url)
        asked, picture = _prepare(store, folder, archive, requests)
        with servers.web(url, folder, archive) as ours:
            sides.send(ours, asked.part(0, sides.WARM_UP), CLIENTS)
            for _ in range(rounds):
                alone.append(sides.send(ours, asked, CLIENTS).p99_ms)
                with _downloads(f"{ours.url}/images/{picture}.png") as downloaded:
                    side = sides.send(ours, asked, CLIENTS)
                beside.append(side.p99_ms)
                rates.append(downloaded[0] / 1e6 * side.per_s / requests)
        store.dispose()
    return [
        Figure(f"status p99, {CLIENTS} clients ({place})", kind, alone, "ms"),
        Figure(f"status p99, beside {DOWNLOADS} downloads of 50 MB from a {place}", kind, beside, "ms", LIMIT_MS),
        Figure(f"downloaded from a {place} meanwhile", kind, rates, "MB/s"),
    ]


def _prepare(store: Store, folder: Path, archive: dict[str, str], requests: int) -> tuple[Requests, str]:
    """Jobs to ask for, and the id of the picture to download."""
    ids = fixtures.make_jobs(store, requests)
    headers = {"Authorization": f"Bearer {fixtures.make_key(store)}"}
    asked = Requests("GET", [f"/v1/jobs/{each}" for each in ids], [""] * len(ids), headers)
    return asked, _archive_picture(store, ids[0], folder, archive)


@contextmanager
def _archive(place: str, folder: Path) -> Iterator[dict[str, str]]:
    """What the environment says of the archive. A bucket's keys are looked for in that of this process, too."""
    if place == "directory":
        yield {"ARCHIVE_URL": (folder / "archive").as_uri()}
        return
    os.environ.update(buckets.KEYS)
    with buckets.own_service() as service:
        yield {"ARCHIVE_URL": service.url("bench")}
    for name in buckets.KEYS:
        del os.environ[name]


def _archive_picture(store: Store, track_id: str, folder: Path, archive: dict[str, str]) -> str:
    """Put a picture of 50 MB behind the job's first one; returns its id."""
    source = folder / "picture"
    source.write_bytes(os.urandom(PICTURE))
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    storage_of(load_settings(archive)).put_if_absent(blob_key(sha256), source, "image/png")
    now = datetime.now(UTC)
    blob = {"sha256": sha256, "state": "stored", "reference_count": 1, "created_at": now, "bytes": PICTURE}
    facts = {"content_type": "image/png", "width": 8, "height": 8, "thumbnails": []}
    with store.writing() as connection:
        connection.execute(insert(Blob).values(**blob, **facts))
        changed = (
            update(Image).where(Image.track_id == track_id).values(status="archived", sha256=sha256, archived_at=now)
        )
        connection.execute(changed)
        return str(connection.scalar(select(Image.image_id).where(Image.track_id == track_id)))


@contextmanager
def _downloads(url: str) -> Iterator[list[int]]:
    """Downloads beside the block; afterwards the list holds how many bytes it were."""
    total: list[int] = []
    command = [sys.executable, "-m", "tests.bench.serving", url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()  # All of them have their first bytes.
        yield total
        total.append(int(process.communicate()[0]))


def download(url: str) -> None:
    """Until standard input ends; on standard output a line when all have begun, then the bytes of all."""
    over, begun, counts = threading.Event(), threading.Barrier(DOWNLOADS + 1), [0] * DOWNLOADS

    def run(number: int) -> None:
        first = True
        while not over.is_set():
            with urllib.request.urlopen(url, timeout=60) as answer:
                while not over.is_set() and (piece := answer.read(256 * 1024)):
                    counts[number] += len(piece)
                    if first:
                        first = False
                        begun.wait(60)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(DOWNLOADS)]
    for thread in threads:
        thread.start()
    begun.wait(60)
    print("begun", flush=True)
    sys.stdin.read()
    over.set()
    for thread in threads:
        thread.join()
    print(sum(counts))


if __name__ == "__main__":
    download(sys.argv[1])
