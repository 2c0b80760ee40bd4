"""Reading how jobs stand for many at once: one query for all who ask together, and each gets its own."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event, update
from sqlalchemy.exc import OperationalError

from tests.web.conftest import Api
from webhook_app.domain.errors import DatabaseUnavailable
from webhook_app.domain.ids import new_track_id
from webhook_app.store.engine import Store
from webhook_app.store.tables import Job
from webhook_app.web import together as together_module
from webhook_app.web.states import States, Until
from webhook_app.web.together import Together

PATIENCE_S = 20


class Queries:
    """The statements that reach the database; `hold` stops each before it runs until it is let go,
    `fail` is an outage."""

    def __init__(self, store: Store) -> None:
        self.count = 0
        self.running, self.go = threading.Semaphore(0), threading.Semaphore(0)
        self.hold = self.fail = False
        event.listen(store.engine, "before_cursor_execute", self._note)

    def _note(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "archive_status" not in statement:
            return
        self.count += 1
        self.running.release()
        if self.hold:
            assert self.go.acquire(timeout=PATIENCE_S)
        if self.fail:
            raise OperationalError("the database is away", None, Exception())


@pytest.fixture
def queries(api: Api) -> Iterator[Queries]:
    made = Queries(api.parts.store)
    yield made
    event.remove(api.parts.store.engine, "before_cursor_execute", made._note)


def all_at_once(api: Api, queries: Queries, count: int, *, failing: bool) -> list[Future[set[str]]]:
    """The first one's query runs when the others ask; it is let go when all of them have."""
    track_ids = [api.submit(f"number {n}") for n in range(count)]
    states = States(api.parts)
    queries.count, queries.hold = 0, True
    with ThreadPoolExecutor(count) as pool:
        first = pool.submit(lambda: set(states.of(track_ids[:1])))
        assert queries.running.acquire(timeout=PATIENCE_S)
        others = [pool.submit(lambda track_id=track_id: set(states.of([track_id]))) for track_id in track_ids[1:]]
        while len(states._together._next.keys) < len(others):
            pass
        queries.hold, queries.fail = False, failing
        queries.go.release()
        futures = [first, *others]
        wait(futures, timeout=PATIENCE_S)
    queries.fail = False
    assert set(states.of(track_ids)) == set(track_ids)
    return futures


def test_who_asks_while_a_query_runs_shares_the_next_one(api: Api, queries: Queries) -> None:
    found = [one.result() for one in all_at_once(api, queries, 20, failing=False)]
    assert [len(one) for one in found] == [1] * 20
    assert len(set[str]().union(*found)) == 20
    assert queries.count == 3  # The first one's, everybody else's, and the look afterwards.


def test_an_error_reaches_all_who_asked_each_as_its_own(api: Api, queries: Queries) -> None:
    errors = [one.exception() for one in all_at_once(api, queries, 5, failing=True)]
    assert [type(error) for error in errors] == [DatabaseUnavailable] * 5
    assert len({id(error) for error in errors}) == 5


def test_what_does_not_exist_and_what_is_erased_is_not_waited_for(api: Api) -> None:
    there, erased, none = api.submit(), api.submit(), new_track_id()
    with api.parts.store.writing() as connection:
        connection.execute(update(Job).where(Job.track_id == erased).values(erased_at=datetime.now(UTC)))
    states = States(api.parts)
    assert set(states.of([there, erased, none])) == {there, erased}
    over = states.over(Until.TERMINAL)
    assert [over([track_id]) for track_id in (there, erased, none)] == [False, True, True]
    assert states.of([]) == {}


def test_no_batch_grows_without_measure() -> None:
    sizes: list[int] = []
    together = Together(lambda keys: dict.fromkeys(keys, sizes.append(len(keys))), most_at_once=3)
    with ThreadPoolExecutor(8) as pool:
        together._reading.acquire()
        answers = [pool.submit(lambda key=str(n): set(together.of([key]))) for n in range(8)]
        while together._next.number < 3 or len(together._next.keys) < 2:
            pass
        together._reading.release()
        assert [one.result(PATIENCE_S) for one in answers] == [{str(n)} for n in range(8)]
    assert sorted(sizes) == [2, 3, 3]


def test_a_read_that_hears_nothing_holds_up_nobody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together_module, "PATIENCE_S", 0.2)
    silent, begun = threading.Event(), threading.Event()

    def read(keys: Sequence[str]) -> dict[str, int]:
        if "first" in keys:
            begun.set()
            assert silent.wait(PATIENCE_S)
        return dict.fromkeys(keys, len(keys))

    together = Together(read)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(together.of, ["first"])
        assert begun.wait(PATIENCE_S)
        with pytest.raises(DatabaseUnavailable):
            together.of(["second"])
        assert set(together.of(["third"])) == {"third"}
        silent.set()
        assert set(first.result(PATIENCE_S)) == {"first"}
    assert set(together.of(["fourth"])) == {"fourth"}


def test_a_read_whose_session_was_ended_is_repeated_once() -> None:
    left = [DatabaseUnavailable("cut"), None, DatabaseUnavailable("cut"), DatabaseUnavailable("cut"), None]

    def read(keys: Sequence[str]) -> dict[str, int]:
        if (error := left.pop(0)) is not None:
            raise error
        return dict.fromkeys(keys, 1)

    together = Together(read)
    assert together.of(["a"]) == {"a": 1}
    with pytest.raises(DatabaseUnavailable, match="cut"):
        together.of(["a"])
    assert together.of(["a"]) == {"a": 1}
