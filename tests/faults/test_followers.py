"""The promise of the log: in whatever order writers commit, however sealers die, all followers read the same."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
import requests
from sqlalchemy import select

from tests.served import Served, app, parts, served
from tests.web.conftest import BOOTSTRAP_KEY
from tests.web.test_stream import Reader
from webhook_app.domain.audit import Auditor
from webhook_app.domain.events import Event, EventType
from webhook_app.flows import audit
from webhook_app.signing.ed25519 import verify
from webhook_app.store import events
from webhook_app.store.engine import Store
from webhook_app.store.tables import EventRow
from webhook_app.wiring import Parts

__all__ = ["app", "parts", "served"]

PATIENCE_S = 180.0
WRITERS, SEALERS, KILLS = 6, 2, 8
SEED = 20261126
ADMIN = {"Authorization": f"Bearer {BOOTSTRAP_KEY}"}
Enough = Callable[[int], bool]


class Ending(Exception):
    """A writer's transaction is to be rolled back."""


def write(store: Store, chance: random.Random, deaths: list[int], failed: threading.Event) -> None:
    """Transactions that insert first and commit last: each is held open for a while, and a fifth is rolled back."""
    while len(deaths) < KILLS and not failed.is_set():
        time.sleep(chance.random() * 0.1)
        told = Event(EventType.PROVIDER_PAUSED, "operator", datetime.now(UTC), data={"n": chance.random()})
        try:
            with store.writing() as connection:
                events.append(connection, [told] * chance.randint(1, 3))
                time.sleep(chance.random() * (0.002 if store.is_sqlite else 0.1))
                if chance.random() < 0.2:
                    raise Ending
        except Ending:
            continue


def start_sealer(parts: Parts) -> "subprocess.Popen[bytes]":
    url, secret = parts.store.url.render_as_string(hide_password=False), "sealer-secret-sealer-secret-sealer-secret"
    env = {"DATABASE_URL": url, "DATA_DIR": str(parts.settings.data_dir), "SECRET_KEY": secret}
    command = [sys.executable, "-m", "tests.bench.sealer"]
    return subprocess.Popen(command, env=os.environ | env, stdout=subprocess.PIPE)


@contextmanager
def dying_sealers(parts: Parts) -> Iterator[list[int]]:
    """Sealers of which one is killed at a random moment, again and again; gives the signals that they died of."""
    chance, stop, deaths = random.Random(SEED), threading.Event(), []
    sealers = [start_sealer(parts) for _ in range(SEALERS)]

    def kill() -> None:
        while len(deaths) < KILLS and not stop.is_set():
            victim = chance.randrange(SEALERS)
            assert sealers[victim].stdout is not None
            sealers[victim].stdout.readline()  # It is at work.
            stop.wait(chance.random() * 0.3)
            sealers[victim].kill()
            deaths.append(-sealers[victim].wait())
            sealers[victim] = start_sealer(parts)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield deaths
        killer.join(PATIENCE_S)
    finally:
        stop.set()
        while killer.is_alive():  # It may wait for a word of one that has nothing to say.
            _kill(sealers)
            killer.join(0.1)
        _kill(sealers)


def _kill(sealers: "list[subprocess.Popen[bytes]]") -> None:
    for sealer in sealers:
        sealer.kill()
        sealer.wait()


@contextmanager
def ending(failed: threading.Event) -> Iterator[None]:
    """Let nobody wait for what will not come."""
    try:
        yield
    finally:
        failed.set()


def poll(url: str, enough: Enough) -> list[tuple[int, str]]:
    """Follow by asking, with the `next_after` of each answer."""
    found: list[tuple[int, str]] = []
    after = 0
    while not enough(len(found)):
        query: dict[str, int] = {"after": after, "wait": 1, "limit": 7}
        page = requests.get(f"{url}/v1/events", headers=ADMIN, params=query, timeout=PATIENCE_S).json()
        found += [(event["seq"], event["event_id"]) for event in page["data"]]
        after = page["next_after"]
    return found


def stream(url: str, enough: Enough) -> list[tuple[int, str]]:
    """Follow by a stream that is cut off after a few events, and taken up behind the last one."""
    chance = random.Random(SEED + 1)
    found: list[tuple[int, str]] = []
    while not enough(len(found)):
        headers = ADMIN | {"Last-Event-ID": str(found[-1][0] if found else 0)}
        with requests.get(f"{url}/v1/events/stream", headers=headers, stream=True, timeout=PATIENCE_S) as response:
            most = len(found) + chance.randint(1, 40)
            for block in Reader(response).blocks:
                if "data" in block:
                    found.append((int(block["id"]), json.loads(block["data"])["event_id"]))
                if len(found) == most or enough(len(found)):
                    break
    return found


@pytest.mark.timeout(400)
def test_followers_read_the_same_log_whatever_writers_and_sealers_do(served: Served) -> None:
    store = served.api.parts.store
    committed: int | None = None
    failed = threading.Event()

    def enough(count: int) -> bool:
        return count == committed or failed.is_set()

    with ThreadPoolExecutor(WRITERS + 2) as pool:
        followers = [pool.submit(follow, served.url, enough) for follow in (poll, stream)]
        with ending(failed), dying_sealers(served.api.parts) as deaths:
            chances = [random.Random(f"{SEED} {n}") for n in range(WRITERS)]
            for writer in [pool.submit(write, store, chance, deaths, failed) for chance in chances]:
                writer.result(PATIENCE_S)
            with store.reading() as connection:
                committed = 1 + len(connection.execute(select(EventRow.event_id)).all())
            with store.writing() as connection:
                events.append(connection, [Event(EventType.PROVIDER_RESUMED, "operator", datetime.now(UTC))])
            first, second = (follower.result(PATIENCE_S) for follower in followers)
    assert first == second
    assert [seq for seq, _ in first] == list(range(1, committed + 1))
    with store.reading() as connection:
        rows = connection.execute(select(EventRow.event_id, EventRow.seq))
        assert set(first) == {(row.seq, row.event_id) for row in rows}
    assert deaths == [signal.SIGKILL] * KILLS
    log_id, keys = audit.identity(store)
    auditor = Auditor(log_id, keys, verify)
    for record in audit.records(store, None, log_id=log_id):
        auditor.look(record)
    assert (auditor.end().events, auditor.report.problems) == (committed, [])
