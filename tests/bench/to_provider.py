"""From the commit of a submit to the request at the provider, on an idle system, with a real worker."""

import json
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from sqlalchemy import select

from tests.bench import fixtures, servers, sides
from tests.bench.figures import Figure
from tests.databases import fresh_database
from webhook_app.store.engine import Store
from webhook_app.store.tables import Job

SUBMITS = 30
ARRIVES_WITHIN_S = 20.0
ARRIVED = threading.Condition()


class Provider(BaseHTTPRequestHandler):
    """Takes every job, and notes when it came by its track_id; the clock is the one that the job's row has."""

    protocol_version = "HTTP/1.1"
    arrivals: dict[str, datetime]

    def do_POST(self) -> None:
        now = datetime.now(UTC)
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with ARRIVED:
            number = len(self.arrivals)
            self.arrivals.setdefault(asked["track_id"], now)
            ARRIVED.notify_all()
        answer = json.dumps({"status": "processing", "id": number + 1, "eta": 600, "output": []}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


@contextmanager
def provider() -> Iterator[tuple[str, dict[str, datetime]]]:
    """A provider at an address of this machine, and its arrivals by track_id."""
    arrivals: dict[str, datetime] = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Noting", (Provider,), {"arrivals": arrivals}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/api/v1/enterprise", arrivals
    finally:
        server.shutdown()
        server.server_close()


def measure(kind: str, folder: Path, rounds: int, requests: int) -> list[Figure]:
    """From the job's `created_at`, which is just before the commit. `requests` is not used: one at a time is idle."""
    del requests
    waits: list[list[float]] = []
    with provider() as (provider_url, arrivals), fresh_database(kind, folder) as url:
        store = Store(url)
        key = fixtures.make_key(store)
        more = {"MODELSLAB_URL": provider_url, "MODELSLAB_MAX_IN_FLIGHT": str(rounds * SUBMITS + 10)}
        with servers.web(url, folder, more) as server, servers.worker(url, folder, more):
            _round(store, server, key, "warm", arrivals, 5)
            for number in range(rounds):
                waits.append(_round(store, server, key, f"round-{number}", arrivals, SUBMITS))
        store.dispose()
    p50 = [statistics.median(each) for each in waits]
    return [Figure("from a submit's commit to the provider, p50, idle", kind, p50, "ms", limit=50.0)]


def _round(
    store: Store, server: servers.Server, key: str, name: str, arrivals: dict[str, datetime], count: int
) -> list[float]:
    asked, before = fixtures.submits(key, count, name), len(arrivals)
    for n in range(count):
        sides.drive_one(server.url, asked.part(n, n + 1))
        wanted = before + n + 1
        with ARRIVED:
            if not ARRIVED.wait_for(lambda: len(arrivals) >= wanted, timeout=ARRIVES_WITHIN_S):  # noqa: B023 - at once
                raise SystemExit(f"a job did not reach the provider within {ARRIVES_WITHIN_S} s")
        time.sleep(0.02)  # Idle means that the last answer is on record as well.
    with store.reading() as connection:
        rows = connection.execute(select(Job.track_id, Job.created_at).where(Job.reference == name)).all()
    if len(rows) != count:
        raise SystemExit(f"{count} submits were answered, {len(rows)} are on record")
    return [(arrivals[row.track_id] - row.created_at).total_seconds() * 1000 for row in rows]
