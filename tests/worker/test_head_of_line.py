"""One receiver hangs and one fails: a healthy one gets everything, and soon."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select
from standardwebhooks import Webhook

from tests.receiver import Answer, Receiver, receiving
from tests.web.conftest import parts
from webhook_app.domain.events import Event, EventType
from webhook_app.flows.keys import create_client
from webhook_app.flows.subscribe import NewEndpoint, subscribe
from webhook_app.net.post import GuardedSender
from webhook_app.store import events
from webhook_app.store.listen import Wakeups
from webhook_app.store.tables import Delivery, Endpoint
from webhook_app.wiring import Parts
from webhook_app.worker.loop import start
from webhook_app.worker.ticks import Ticks, new_owner

__all__ = ["parts"]
CI_EVENTS, EVENTS = 120, 1_000
A_SECOND = 40


class Town:
    """A client with three receivers, and a worker that tells them."""

    def __init__(self, parts: Parts, receiver: Receiver) -> None:
        self.parts = replace(parts, sender=GuardedSender(frozenset({receiver.host_port})))
        self.receiver = receiver
        now = datetime.now(UTC)
        self.client_id = create_client(parts.store, name="acme", now=now)
        receiver.answer("/hangs", Answer(act=receiver.hang))
        receiver.answer("/fails", Answer(500))
        self.secrets = {
            path: subscribe(
                parts.store,
                parts.vault,
                NewEndpoint(receiver.url + path, None, None),
                client_id=self.client_id,
                now=now,
            )[1]
            for path in ("/hangs", "/fails", "/healthy")
        }

    def happen(self, count: int) -> None:
        with self.parts.store.writing() as connection:
            now = datetime.now(UTC)
            events.append(
                connection,
                [Event(EventType.JOB_SUCCEEDED, "worker", now, client_id=self.client_id) for _ in range(count)],
            )

    @contextmanager
    def working(self) -> Iterator[Ticks]:
        ticks, stop = Ticks(self.parts, owner=new_owner()), threading.Event()
        wakeups = Wakeups(self.parts.store)
        wakeups.subscribe(ticks.wake)
        wakeups.start()
        wanted = [ticking for ticking in ticks.all() if ticking.name in ("seal", "notify")]
        threads = [start(ticking, stop) for ticking in wanted]
        try:
            yield ticks
        finally:
            stop.set()
            for ticking in wanted:
                ticking.wake.set()
            for thread in threads:
                thread.join()
            wakeups.stop()

    def recorded(self, path: str, status: str) -> int:
        found = select(func.count()).where(Delivery.url == self.receiver.url + path, Delivery.status == status)
        with self.parts.store.reading() as connection:
            return connection.scalar(found) or 0

    def wait_recorded(self, path: str, status: str, count: int) -> None:
        until = time.monotonic() + 60
        while self.recorded(path, status) < count:
            assert time.monotonic() < until
            time.sleep(0.05)


@pytest.fixture
def town(parts: Parts) -> Iterator[Town]:
    with receiving() as receiver:
        yield Town(parts, receiver)


def test_the_healthy_one_gets_everything_once(town: Town) -> None:
    town.happen(CI_EVENTS)
    with town.working():
        got = town.receiver.wait_for(CI_EVENTS, "/healthy")
        town.wait_recorded("/healthy", "succeeded", CI_EVENTS)
    for each in got:
        Webhook(town.secrets["/healthy"]).verify(each.body, each.headers)
    ids = [each.headers["webhook-id"] for each in town.receiver.got("/healthy")]
    assert len(ids) == len(set(ids)) == CI_EVENTS
    assert town.recorded("/hangs", "pending") == CI_EVENTS
    assert town.recorded("/fails", "pending") == CI_EVENTS
    assert len(town.receiver.got("/fails")) < CI_EVENTS / 2, "its breaker opened"
    with town.parts.store.reading() as connection:
        assert connection.scalar(select(func.count()).where(Endpoint.disabled_at.is_not(None))) == 0


@pytest.mark.long
@pytest.mark.timeout(300)
def test_over_1000_events_the_healthy_ones_p99_is_below_a_second(town: Town) -> None:
    town.happen(1)
    with town.working():
        town.receiver.wait_for(1, "/healthy")
        for _ in range(EVENTS * 10 // A_SECOND):
            town.happen(A_SECOND // 10)
            time.sleep(0.1)
        got = town.receiver.wait_for(1 + EVENTS, "/healthy")
    bodies = [Webhook(town.secrets["/healthy"]).verify(each.body, each.headers) for each in got[1:]]
    happened = [datetime.fromisoformat(body["timestamp"]).timestamp() for body in bodies]
    delays = sorted(each.at - at for each, at in zip(got[1:], happened, strict=True))
    print(f"p50 {delays[EVENTS // 2] * 1000:.0f} ms, p99 {delays[EVENTS * 99 // 100] * 1000:.0f} ms")
    assert delays[EVENTS * 99 // 100] <= 1.0
