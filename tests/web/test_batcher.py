"""The callback batcher: what shares a commit, and that every failure reaches exactly those whom it concerns."""

import multiprocessing
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from webhook_app.domain.errors import DatabaseBusy, DatabaseUnavailable, StorageError
from webhook_app.flows.receive import Arrival
from webhook_app.web.batcher import MOST_WAITING_BYTES, Batcher
from webhook_app.web.grouping import MOST_IN_A_BATCH


def arrival(track_id: str, body: bytes = b"{}") -> Arrival:
    return Arrival("modelslab", track_id, 1, body, "application/json", {}, None, datetime.now(UTC))


class Desk:
    """Stands where the flow stands: holds batches back until told, and fails as told."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.raw: list[str] = []
        self.told: list[set[str]] = []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Event()
        self.failing: dict[str, BaseException] = {}
        self.failing_raw: dict[str, Exception] = {}
        self.spooled: list[str] = []
        self.spool_is_full = False

    def receive(self, arrivals: Sequence[Arrival]) -> None:
        self.batches.append([one.track_id for one in arrivals])
        self.entered.release()
        assert self.gate.wait(30)
        for one in arrivals:
            if one.track_id in self.failing:
                raise self.failing[one.track_id]

    def keep_raw(self, one: Arrival) -> None:
        if one.track_id in self.failing_raw:
            raise self.failing_raw[one.track_id]
        self.raw.append(one.track_id)

    def spool(self, arrivals: Sequence[Arrival]) -> None:
        if self.spool_is_full:
            raise StorageError("the disk is full")
        self.spooled += [one.track_id for one in arrivals]

    def batcher(self, give_up_after_s: float = 20, apply_within_s: float = 600) -> Batcher:
        return Batcher(
            self.receive,
            self.keep_raw,
            lambda ids: self.told.append(set(ids)),
            spool=self.spool,
            give_up_after_s=give_up_after_s,
            apply_within_s=apply_within_s,
        )


class Crowd:
    """Requests in threads of their own; `hand` returns once the request waits in the batcher's queue."""

    def __init__(self, batcher: Batcher) -> None:
        self.batcher = batcher
        self.pool = ThreadPoolExecutor(400)

    def hand(self, track_id: str, body: bytes = b"{}") -> "Future[None]":
        return self.pool.submit(self.batcher.put, arrival(track_id, body))


def held_up(desk: Desk, batcher: Batcher, *track_ids: str) -> "list[Future[None]]":
    """The first is in the writer's hands, the others in the queue in this order."""
    crowd = Crowd(batcher)
    futures = [crowd.hand(track_ids[0])]
    assert desk.entered.acquire(timeout=10)
    for waiting, track_id in enumerate(track_ids[1:], start=1):
        futures.append(crowd.hand(track_id))
        wait_for(lambda waiting=waiting: len(batcher._group._pending) == waiting)
    return futures


def wait_for(true: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(10_000):
        if true():
            return
        pause.wait(0.001)
    raise AssertionError("it did not come to that")


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_what_arrived_during_a_commit_is_the_next_batch(desk: Desk) -> None:
    futures = held_up(desk, desk.batcher(), "a", "b", "c", "d")
    desk.gate.set()
    for future in futures:
        future.result(10)
    assert desk.batches == [["a"], ["b", "c", "d"]]
    wait_for(lambda: desk.told == [{"a"}, {"b", "c", "d"}])


def test_two_of_one_job_never_share_a_batch(desk: Desk) -> None:
    futures = held_up(desk, desk.batcher(), "a", "b", "a", "b", "a", "c")
    desk.gate.set()
    for future in futures:
        future.result(10)
    assert desk.batches == [["a"], ["b", "a", "c"], ["b", "a"]]


def test_a_batch_has_at_most_256(desk: Desk) -> None:
    names = [f"job-{n}" for n in range(MOST_IN_A_BATCH + 20)]
    futures = held_up(desk, desk.batcher(), "first", *names)
    desk.gate.set()
    for future in futures:
        future.result(10)
    assert [len(batch) for batch in desk.batches] == [1, MOST_IN_A_BATCH, 20]


def test_a_callback_that_fails_is_found_and_kept_raw_while_the_others_are_stored(desk: Desk) -> None:
    desk.failing["bad"] = ValueError("cannot be stored")
    futures = held_up(desk, desk.batcher(), "a", "b", "bad", "c")
    desk.gate.set()
    for future in futures:
        future.result(10)
    assert desk.batches == [["a"], ["b", "bad", "c"], ["b"], ["bad"], ["c"]]
    assert desk.raw == ["bad"]


def test_a_lonely_callback_that_fails_is_kept_raw_at_once(desk: Desk) -> None:
    desk.failing["bad"] = ValueError("cannot be stored")
    desk.gate.set()
    desk.batcher().put(arrival("bad"))
    assert desk.batches == [["bad"]]
    assert desk.raw == ["bad"]


def test_what_the_database_will_not_take_in_any_form_goes_into_the_spool(desk: Desk) -> None:
    desk.failing["bad"] = ValueError("not even alone")
    desk.failing_raw["bad"] = KeyError("nor raw")
    futures = held_up(desk, desk.batcher(), "a", "bad", "c")
    desk.gate.set()
    for future in futures:
        future.result(10)
    assert desk.spooled == ["bad"]


def test_the_last_exception_reaches_its_own_request_only(desk: Desk) -> None:
    desk.spool_is_full = True
    desk.failing["bad"] = ValueError("not even alone")
    desk.failing_raw["bad"] = KeyError("nor raw")
    futures = held_up(desk, desk.batcher(), "a", "b", "bad", "c")
    desk.gate.set()
    with pytest.raises(KeyError):
        futures[2].result(10)
    for future in (futures[0], futures[1], futures[3]):
        future.result(10)
    wait_for(lambda: desk.told == [{"a"}, {"b", "c"}])


def test_when_the_database_is_away_everything_goes_into_the_spool_at_once(desk: Desk) -> None:
    desk.failing["a"] = DatabaseUnavailable("away")
    futures = held_up(desk, desk.batcher(), "a", "b", "c")
    desk.gate.set()
    for future in futures:
        future.result(10)
    assert (desk.batches, desk.spooled) == ([["a"]], ["a", "b", "c"])


def test_a_locked_job_is_kept_raw_and_the_others_are_applied(desk: Desk) -> None:
    desk.failing["locked"] = DatabaseBusy("a lock was not to be had")
    futures = held_up(desk, desk.batcher(), "first", "a", "locked", "b")
    desk.gate.set()
    for future in futures:
        future.result(10)
    assert desk.batches == [["first"], ["a", "locked", "b"], ["a"], ["locked"], ["b"]]
    assert (desk.raw, desk.spooled) == (["locked"], [])


def test_when_neither_database_nor_spool_can_keep_it_everybody_hears_it_at_once(desk: Desk) -> None:
    desk.spool_is_full = True
    desk.failing["a"] = DatabaseUnavailable("away", retry_after_s=5)
    futures = held_up(desk, desk.batcher(), "a", "b", "c")
    desk.gate.set()
    for future in futures:
        with pytest.raises(DatabaseUnavailable) as raised:
            future.result(10)
        assert raised.value.retry_after_s == 5
    assert desk.batches == [["a"]]


def test_a_database_that_goes_away_between_the_single_ones_is_told_to_the_rest(desk: Desk) -> None:
    desk.failing["bad"] = ValueError("a fault of the data")
    desk.failing_raw["bad"] = DatabaseUnavailable("away")
    desk.spool_is_full = True
    futures = held_up(desk, desk.batcher(), "a", "b", "bad", "c")
    desk.gate.set()
    futures[1].result(10)
    for future in futures[2:]:
        with pytest.raises(DatabaseUnavailable):
            future.result(10)


def test_after_an_outage_the_next_callback_is_stored(desk: Desk) -> None:
    batcher = desk.batcher()
    desk.gate.set()
    desk.spool_is_full = True
    desk.failing["a"] = DatabaseUnavailable("away")
    with pytest.raises(DatabaseUnavailable):
        batcher.put(arrival("a"))
    desk.failing.clear()
    batcher.put(arrival("a"))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_writer_that_dies_is_replaced_and_its_batch_is_spooled(desk: Desk) -> None:
    desk.failing["deadly"] = SystemExit(1)
    batcher = desk.batcher()
    futures = held_up(desk, batcher, "deadly", "next")
    writer = batcher._group._writer
    desk.gate.set()
    futures[0].result(10)
    futures[1].result(10)
    assert desk.spooled == ["deadly"]
    batcher.put(arrival("later"))
    assert writer is not None
    writer.join(10)


def test_a_database_that_hangs_keeps_nobody_waiting(desk: Desk) -> None:
    """What the writer has in hand may be stored as well: that only counts as a double. What waits behind it is not."""
    batcher = desk.batcher(give_up_after_s=0.05)
    batcher.put(arrival("in-hand"))
    batcher.put(arrival("behind"))
    assert desk.spooled == ["in-hand", "behind"]
    desk.gate.set()
    assert batcher.finish(10)
    wait_for(lambda: desk.told == [{"in-hand"}])


def test_a_request_gives_up_in_time_when_the_spool_is_full_as_well(desk: Desk) -> None:
    desk.spool_is_full = True
    batcher = desk.batcher(give_up_after_s=0.05)
    with pytest.raises(DatabaseUnavailable) as raised:
        batcher.put(arrival("slow"))
    assert raised.value.retry_after_s is not None
    desk.gate.set()
    assert batcher.finish(10)


@pytest.mark.parametrize("spool_is_full", [False, True])
def test_a_queue_that_only_grows_spills_into_the_spool(desk: Desk, spool_is_full: bool) -> None:
    desk.spool_is_full = spool_is_full
    batcher = desk.batcher()
    half = MOST_WAITING_BYTES // 2
    crowd = Crowd(batcher)
    first = crowd.hand("first")
    assert desk.entered.acquire(timeout=10)
    queued = crowd.hand("big", b"x" * half)
    wait_for(lambda: len(batcher._group._pending) == 1)
    refused = crowd.hand("bigger", b"x" * half).exception(10)
    assert isinstance(refused, DatabaseUnavailable if spool_is_full else type(None))
    assert desk.spooled == ([] if spool_is_full else ["bigger"])
    desk.gate.set()
    first.result(10)
    queued.result(10)
    assert desk.batches == [["first"], ["big"]]


def test_finish_waits_for_what_was_handed_over(desk: Desk) -> None:
    batcher = desk.batcher()
    futures = held_up(desk, batcher, "a", "b")
    assert not batcher.finish(0.01)
    desk.gate.set()
    assert batcher.finish(10)
    assert all(future.exception(10) is None for future in futures)


def test_a_forked_process_starts_a_writer_of_its_own(desk: Desk) -> None:
    desk.gate.set()
    batcher = desk.batcher()
    batcher.put(arrival("parent"))
    child = multiprocessing.get_context("fork").Process(target=batcher.put, args=(arrival("child"),))
    child.start()
    child.join(30)
    assert child.exitcode == 0
