"""The loop waits, is woken, and outlives everything that a tick can raise."""

import threading
from collections.abc import Callable

from webhook_app.domain.errors import DatabaseUnavailable
from webhook_app.worker.crew import Crew
from webhook_app.worker.loop import Ticking, start

PATIENCE_S = 10


class Counted:
    """A tick that follows a script of returns and raises, then does nothing; `reached(n)` waits for its n-th call."""

    def __init__(self, *script: int | Exception) -> None:
        self._script = list(script)
        self._changed = threading.Condition()
        self.calls = 0

    def __call__(self) -> int:
        with self._changed:
            self.calls += 1
            self._changed.notify_all()
            turn = self._script.pop(0) if self._script else 0
        if isinstance(turn, Exception):
            raise turn
        return turn

    def reached(self, n: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.calls >= n, timeout=PATIENCE_S)


def running(ticking: Ticking) -> Callable[[], bool]:
    stopping = threading.Event()
    thread = start(ticking, stopping)

    def stop() -> bool:
        stopping.set()
        ticking.wake.set()
        thread.join(timeout=PATIENCE_S)
        return not thread.is_alive()

    return stop


def test_a_tick_that_did_something_is_followed_by_another_at_once():
    tick = Counted(3, 2, 1)
    stop = running(Ticking("t", tick, every_s=3600))
    assert tick.reached(4)
    assert stop()
    assert tick.calls == 4


def test_a_sleeping_loop_is_woken():
    tick = Counted()
    ticking = Ticking("t", tick, every_s=3600)
    stop = running(ticking)
    assert tick.reached(1)
    ticking.wake.set()
    assert tick.reached(2)
    assert stop()


def test_a_wake_during_a_tick_is_not_slept_through():
    in_tick, go_on = threading.Event(), threading.Event()
    second = threading.Event()

    def tick() -> int:
        if in_tick.is_set():
            second.set()
        else:
            in_tick.set()
            go_on.wait(PATIENCE_S)
        return 0

    ticking = Ticking("t", tick, every_s=3600)
    stop = running(ticking)
    assert in_tick.wait(PATIENCE_S)
    ticking.wake.set()
    go_on.set()
    assert second.wait(PATIENCE_S)
    assert stop()


def test_nothing_that_a_tick_raises_ends_the_loop():
    tick = Counted(ValueError("a bug"), DatabaseUnavailable("away"), RecursionError())
    stop = running(Ticking("t", tick, every_s=3600, backoff_most_s=0.01))
    assert tick.reached(4)
    assert stop()


def test_a_failing_tick_is_not_repeated_at_once_even_when_it_is_woken():
    tick = Counted(*[ValueError("again")] * 50)
    ticking = Ticking("t", tick, every_s=0)
    stop = running(ticking)
    assert tick.reached(1)
    for _ in range(20):
        ticking.wake.set()
    assert stop()
    assert tick.calls <= 2


def test_a_crew_says_how_many_are_free_and_tells_when_one_is():
    told = threading.Event()
    crew = Crew("c", 2, when_free=told.set)
    go_on = threading.Event()

    def hold() -> None:
        go_on.wait(PATIENCE_S)

    crew.do(hold)
    assert crew.free == 1
    assert not crew.wait_idle(0)
    go_on.set()
    assert crew.wait_idle(PATIENCE_S)
    assert told.wait(PATIENCE_S)
    assert crew.free == 2


def test_a_crew_outlives_work_that_raises():
    crew = Crew("c", 1, when_free=lambda: None)
    done = threading.Event()

    def fail() -> None:
        raise ValueError("a bug")

    crew.do(fail)
    assert crew.wait_idle(PATIENCE_S)
    crew.do(done.set)
    assert done.wait(PATIENCE_S)
