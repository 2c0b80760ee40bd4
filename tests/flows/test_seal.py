"""Numbering the log: gapless, once, whatever the order of commits."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.flows.world import World
from webhook_app.domain.events import Event, EventType
from webhook_app.flows.seal import seal
from webhook_app.store import events, log
from webhook_app.store.tables import EventRow


def numbers(world: World) -> list[int | None]:
    return [row.seq for row in world.rows(EventRow, order=EventRow.position)]


def test_numbers_are_gapless_and_follow_the_order_of_insertion(world: World) -> None:
    for _ in range(5):
        world.submit()
    assert [seal(world.store, limit=3) for _ in range(3)] == [3, 2, 0]
    world.submit()
    seal(world.store)
    assert numbers(world) == [1, 2, 3, 4, 5, 6]


def test_sealers_at_once_number_each_event_once(world: World) -> None:
    def work(n: int) -> int:
        return seal(world.store, limit=7) or 0 if n % 2 else len(world.submit()) * 0

    with ThreadPoolExecutor(6) as pool:
        sealed = sum(pool.map(work, range(60)))
    sealed += seal(world.store) or 0
    assert sealed == 30
    assert sorted(number for number in numbers(world) if number) == list(range(1, 31))


def test_what_was_inserted_long_ago_is_found_by_a_thorough_look(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "LOOK_BACK", 3)
    for _ in range(6):
        world.submit()
    with world.store.writing() as connection:  # As if the first were not committed yet; nobody looks at the chain here.
        _, *others = log.sealed(log.unsealed(connection, limit=6, thoroughly=True))
        log.write(connection, [replace(event, seq=event.seq - 1) for event in others])
    world.submit()
    assert seal(world.store, thoroughly=False) == 1
    assert numbers(world) == [None, 1, 2, 3, 4, 5, 6]
    assert seal(world.store, thoroughly=False) == 0
    assert seal(world.store) == 1
    assert numbers(world) == [7, 1, 2, 3, 4, 5, 6]


def test_what_was_inserted_first_and_committed_last_gets_the_next_number(world: World) -> None:
    if world.store.is_sqlite:
        return  # There is one writer at a time: the orders are the same.
    inserted, go = threading.Event(), threading.Event()

    def slow() -> None:
        with world.store.writing() as connection:
            events.append(connection, [Event(EventType.PROVIDER_PAUSED, "operator", world.at)])
            inserted.set()
            go.wait(10)

    writer = threading.Thread(target=slow)
    writer.start()
    assert inserted.wait(10)
    world.submit()
    assert seal(world.store) == 1
    go.set()
    writer.join()
    assert seal(world.store) == 1
    assert numbers(world) == [2, 1]
