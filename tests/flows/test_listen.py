"""Waking: whoever waits hears of a commit, also after the database has cut the connection."""

import queue
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text

from tests.flows.world import World
from webhook_app.domain.events import Event, EventType
from webhook_app.store import events
from webhook_app.store.engine import Store
from webhook_app.store.listen import Wakeups

PATIENCE_S = 20.0


Heard = queue.Queue[set[str] | None]


@contextmanager
def listening(store: Store) -> Iterator[Heard]:
    """What a listener tells meanwhile."""
    heard: Heard = queue.Queue()
    wakeups = Wakeups(store)
    wakeups.subscribe(heard.put)
    wakeups.start()
    try:
        yield heard
    finally:
        wakeups.stop()


def hear(heard: Heard, track_id: str) -> None:
    while track_id not in (heard.get(timeout=PATIENCE_S) or ()):
        pass


def test_a_commit_wakes(world: World) -> None:
    with listening(world.store) as heard:
        _settle(world, heard)
        if not world.store.is_sqlite:
            _cut(world)
            # What was told before the cut may come late; None says that it is connected again, and to read again.
            while heard.get(timeout=PATIENCE_S) is not None:
                pass
            hear(heard, world.submit())


def test_an_event_about_no_job_wakes_as_well(world: World) -> None:
    with listening(world.store) as heard:
        _settle(world, heard)
        with world.store.writing() as connection:
            events.append(connection, [Event(EventType.PROVIDER_PAUSED, "worker", world.at)])
        while heard.get(timeout=PATIENCE_S) != set():
            pass


def test_a_commit_wakes_where_nothing_may_be_prepared(world: World) -> None:
    """As the URL says that leads through a pooler; the listener takes the same one."""
    if world.store.is_sqlite:
        return  # Nothing lies between.
    url = world.store.url.update_query_dict({"prepare_threshold": "none"})
    store = Store(url.render_as_string(hide_password=False))
    with listening(store) as heard:
        _settle(world, heard)
    store.dispose()


def _settle(world: World, heard: Heard) -> None:
    """The listener begins some time after its start: submit until one is heard."""
    submitted: set[str] = set()
    for _ in range(200):
        submitted.add(world.submit())
        try:
            found = heard.get(timeout=0.2)
        except queue.Empty:
            continue
        if found and found & submitted:
            break
    else:
        raise AssertionError("nothing was heard")
    while not heard.empty():
        heard.get()


def _cut(world: World) -> None:
    others = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND query LIKE 'LISTEN%' AND pid <> pg_backend_pid()"
    )
    with world.store.reading() as connection:
        assert connection.execute(others).all()
