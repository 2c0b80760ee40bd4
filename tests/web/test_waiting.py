"""Waiting for jobs: nobody sleeps through a change, nobody waits too long, and not too many wait."""

import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor

import pytest

from webhook_app.domain.errors import TooManyWaiters
from webhook_app.web.waiting import Waiting


class Bell:
    """Wake-ups by hand."""

    def __init__(self) -> None:
        self.hear: Callable[[set[str] | None], None] = lambda track_ids: None
        self.started = 0

    def subscribe(self, hear: Callable[[set[str] | None], None], /) -> None:
        self.hear = hear

    def start(self) -> None:
        self.started += 1


class Fact:
    """Something that becomes true; counts how often it was looked at, and says so."""

    def __init__(self) -> None:
        self.true = False
        self.looks = threading.Semaphore(0)
        self.looked = 0
        self.news: list[list[str]] = []

    def __call__(self, news: Collection[str]) -> bool:
        answer = self.true
        self.looked += 1
        self.news.append(sorted(news))
        self.looks.release()
        return answer


@pytest.fixture
def bell() -> Bell:
    return Bell()


def test_what_is_true_already_is_not_waited_for(bell: Bell) -> None:
    assert Waiting(bell, 1).wait_until(lambda news: True, ["a"], 60)


def test_a_waiter_is_registered_before_it_reads(bell: Bell) -> None:
    waiting = Waiting(bell, 10)
    fact = Fact()

    def change_between_reading_and_sleeping(news: Collection[str]) -> bool:
        answer = fact(news)
        if not answer:
            fact.true = True
            bell.hear({"a"})
        return answer

    assert waiting.wait_until(change_between_reading_and_sleeping, ["a"], 60)
    assert fact.looked == 2


def test_a_wake_up_makes_the_waiter_read_again(bell: Bell) -> None:
    waiting, fact = Waiting(bell, 10), Fact()
    with ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(waiting.wait_until, fact, ["a", "b"], 60)
        assert fact.looks.acquire(timeout=10)
        bell.hear({"b"})
        assert fact.looks.acquire(timeout=10)
        fact.true = True
        bell.hear(None)
        assert waiter.result(10)
    assert waiting.count == 0
    assert bell.started == 1
    assert fact.news == [["a", "b"], ["b"], ["a", "b"]]


def test_what_changes_while_it_looks_is_looked_at_once_more(bell: Bell) -> None:
    waiting, fact = Waiting(bell, 10), Fact()

    def change_while_looking(news: Collection[str]) -> bool:
        answer = fact(news)
        if fact.looked == 2:
            bell.hear({"c"})
            bell.hear({"b", "elsewhere"})
            fact.true = True
        return answer

    with ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(waiting.wait_until, change_while_looking, ["a", "b", "c"], 60)
        assert fact.looks.acquire(timeout=10)
        bell.hear({"a"})
        assert waiter.result(10)
    assert fact.news == [["a", "b", "c"], ["a"], ["b", "c"]]


def test_other_jobs_do_not_wake_it(bell: Bell) -> None:
    waiting, fact = Waiting(bell, 10), Fact()
    with ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(waiting.wait_until, fact, ["a"], 0.3)
        assert fact.looks.acquire(timeout=10)
        for _ in range(50):
            bell.hear({"b"})
        assert waiter.result(10) is False
    assert fact.looked == 2


def test_when_the_time_is_over_it_reads_once_more(bell: Bell) -> None:
    fact = Fact()
    begun = time.monotonic()
    assert not Waiting(bell, 10).wait_until(fact, ["a"], 0.05)
    assert time.monotonic() - begun >= 0.05
    assert fact.looked == 2


def test_without_time_it_reads_once_and_needs_no_place(bell: Bell) -> None:
    fact = Fact()
    assert not Waiting(bell, 0).wait_until(fact, ["a"], 0)
    assert fact.looked == 1


def test_a_wait_for_many_takes_the_place_of_several(bell: Bell) -> None:
    waiting, fact = Waiting(bell, 20), Fact()
    with waiting.place(999), ThreadPoolExecutor(1) as pool:
        assert waiting.count == 1
        with pytest.raises(TooManyWaiters):
            waiting.wait_until(fact, ["a"], 60)
        assert pool.submit(waiting.wait_until, fact, ["a"], 0).result() is False
    with waiting.place(499), waiting.place(449):
        assert waiting.count == 2
    assert waiting.count == 0


def test_over_the_cap_nobody_waits(bell: Bell) -> None:
    waiting, fact = Waiting(bell, 1), Fact()
    with ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(waiting.wait_until, fact, ["a"], 60)
        assert fact.looks.acquire(timeout=10)
        with pytest.raises(TooManyWaiters) as raised:
            waiting.wait_until(lambda news: False, ["b"], 60)
        assert raised.value.retry_after_s is not None
        fact.true = True
        bell.hear({"a"})
        waiter.result(10)
    assert not waiting.wait_until(lambda news: False, ["b"], 0.01)


def test_draining_ends_all_waits_and_takes_no_new_ones(bell: Bell) -> None:
    waiting = Waiting(bell, 10)
    facts = [Fact() for _ in range(5)]
    with ThreadPoolExecutor(5) as pool:
        waiters = [pool.submit(waiting.wait_until, fact, [str(n)], 60) for n, fact in enumerate(facts)]
        for fact in facts:
            assert fact.looks.acquire(timeout=10)
        waiting.drain()
        assert [waiter.result(10) for waiter in waiters] == [False] * 5
    assert waiting.draining
    assert not waiting.wait_until(lambda news: False, ["a"], 60)


def test_a_failed_reading_reaches_the_caller_and_frees_its_place(bell: Bell) -> None:
    waiting = Waiting(bell, 1)
    with pytest.raises(ZeroDivisionError):
        waiting.wait_until(lambda news: bool(1 / 0), ["a"], 60)
    assert waiting.count == 0


def test_two_waiters_for_one_job_are_both_woken(bell: Bell) -> None:
    waiting, facts = Waiting(bell, 10), [Fact(), Fact()]
    with ThreadPoolExecutor(2) as pool:
        waiters = [pool.submit(waiting.wait_until, fact, ["a"], 60) for fact in facts]
        for fact in facts:
            assert fact.looks.acquire(timeout=10)
            fact.true = True
        bell.hear({"a"})
        assert [waiter.result(10) for waiter in waiters] == [True, True]
