"""One side of a round: requests sent by the load generator's process, and the CPU of everything that answered them."""

import json
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from typing import Any

from tests.bench import fixtures
from tests.bench.requests import Requests
from tests.bench.servers import Server
from webhook_app.store.engine import Store

WARM_UP = 200


@dataclass(frozen=True, slots=True)
class Side:
    """What a server did with the requests: CPU per request in µs (`load_us` is the generator's own), requests per
    second, latencies in ms, and how long the sealer took to finish after the last answer."""

    cpu_us: float
    load_us: float
    per_s: float
    p50_ms: float
    p99_ms: float
    lag_s: float


def send(server: Server, requests: Requests, clients: int, *, store: Store | None = None) -> Side:
    """Send them all. With `store` the work ends when the log is sealed. Ends the program when an answer is wrong."""
    before = server.cpu_s()
    done = drive(server.url, requests, clients)
    if set(done["statuses"]) - {str(requests.answer)}:
        raise SystemExit(f"not every request was answered {requests.answer}: {done['statuses']}")
    lag = wait_until_sealed(store) if store else 0.0
    used = sum(server.cpu_s().values()) - sum(before.values())
    count = len(requests.paths)
    micro = 1e6 / count
    return Side(used * micro, done["cpu_s"] * micro, count / done["wall_s"], done["p50"], done["p99"], lag)


def drive(url: str, requests: Requests, clients: int) -> dict[str, Any]:
    """The load generator's report."""
    asked = {"url": url, "clients": clients, "method": requests.method, "headers": requests.headers}
    asked |= {"paths": list(requests.paths), "bodies": list(requests.bodies)}
    command = [sys.executable, "-m", "tests.bench.load"]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def drive_one(url: str, request: Requests) -> None:
    """Send one request from this process; ends the program when its answer is wrong."""
    headers = {"Content-Type": "application/json"} | request.headers
    body = request.bodies[0].encode()
    asked = urllib.request.Request(url + request.paths[0], body, headers, method=request.method)
    with urllib.request.urlopen(asked, timeout=30) as answer:
        if answer.status != request.answer:
            raise SystemExit(f"the request was answered {answer.status}, not {request.answer}")
        answer.read()


def wait_until_sealed(store: Store) -> float:
    """Seconds until the log has no event without its number; ends the program when that takes a minute."""
    started = time.perf_counter()
    while fixtures.unsealed(store):
        if time.perf_counter() - started > 60:
            raise SystemExit("the sealer does not come to an end")
        time.sleep(0.02)
    return time.perf_counter() - started
