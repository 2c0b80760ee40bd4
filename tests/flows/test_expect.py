"""What is learned from the jobs that were made, on both databases: the first look, what is overdue, and when."""

from datetime import timedelta

import pytest

from tests.flows.world import World, success
from webhook_app.domain.durations import RELATIVE_ERROR
from webhook_app.domain.estimates import LEAST_JOBS, Estimate
from webhook_app.domain.outcome import Running
from webhook_app.flows.expect import KNOWN_FOR_S, Expectations, Outlook
from webhook_app.flows.seal import prune, seal
from webhook_app.store.tables import CounterRow

SMALL = {"width": 256, "height": 256}
LARGE = {"width": 1024, "height": 1024}


def make(world: World, seconds: float, jobs: int = LEAST_JOBS, *, polled: bool = False, **more: object) -> None:
    """As many jobs, each told after so many seconds."""
    for _ in range(jobs):
        track_id = world.submit(**more)  # type: ignore[arg-type] # members of a submit
        assert world.send(Running(f"id-{track_id}", seconds)) == 1
        world.later(seconds=seconds)
        if polled:
            assert world.poll(success()) == 1
        else:
            world.hear(track_id, success())
        assert world.job(track_id).status == "succeeded"
    seal(world.store)


def learned(world: World) -> Outlook:
    """What a process knows that looks now; the flows act by it."""
    expectations = Expectations()
    expectations.learn(world.store, now=world.at)
    outlook = Outlook(lambda: expectations.history(world.store), slots=5)
    world.obey(expect=outlook.of)
    return outlook


def of(outlook: Outlook, input: dict[str, int], samples: int = 1) -> Estimate | None:
    return outlook.of({"input": input, "samples": samples})


def about(seconds: float) -> object:
    return pytest.approx(seconds, rel=RELATIVE_ERROR)


def test_nothing_is_known_of_nothing(world: World) -> None:
    outlook = learned(world)
    assert of(outlook, SMALL) is None
    make(world, 5, LEAST_JOBS - 1)
    assert of(learned(world), SMALL) is None


def test_each_size_and_number_has_its_own(world: World) -> None:
    make(world, 4, input=SMALL)
    make(world, 12, input=LARGE)
    make(world, 30, input=LARGE, samples=4)
    outlook = learned(world)
    for input, samples, seconds in ((SMALL, 1, 4), (LARGE, 1, 12), (LARGE, 4, 30)):
        found = of(outlook, input, samples)
        assert found is not None
        assert found.usual_s == about(seconds)
    everyone = outlook.everyone()
    assert everyone is not None
    assert (everyone.usual_s, everyone.late_s) == (about(12), about(30))


def test_what_a_poll_found_teaches_nothing(world: World) -> None:
    make(world, 20, polled=True)
    assert of(learned(world), {}) is None


def test_the_first_look_comes_when_nine_of_ten_are_told_within_its_bounds(world: World) -> None:
    for seconds, looked_after_s in ((8, 8), (0.5, 2), (200, 60)):
        make(world, seconds)
        world.later(hours=25)
        make(world, seconds)
        learned(world)
        track_id = world.submit()
        world.send(Running("new", 600.0))
        (attempt,) = world.attempts(track_id)
        assert (attempt.poll_at - world.at).total_seconds() == about(looked_after_s)
        world.hear(track_id, success())
        world.later(hours=25)


def test_a_sent_job_that_takes_twice_as_long_is_overdue_once(world: World) -> None:
    make(world, 50)
    learned(world)
    track_id = world.submit()
    world.send(Running("slow", 5.0))
    overdue_at = world.job(track_id).overdue_at
    assert (overdue_at - world.at).total_seconds() == about(100)
    world.later(seconds=130)
    assert world.expire() == 1
    assert world.expire() == 0
    assert world.events(track_id) == ["job.queued", "job.submitted", "job.overdue"]
    world.hear(track_id, success())
    assert (world.job(track_id).status, world.job(track_id).overdue_at) == ("succeeded", None)


def test_one_that_times_out_before_is_not_called_overdue(world: World) -> None:
    make(world, 50)
    learned(world)
    track_id = world.submit(timeout_s=90)
    world.send(Running("slow", 5.0))
    assert world.job(track_id).overdue_at is None


def test_without_history_nothing_is_planned_otherwise(world: World) -> None:
    track_id = world.submit()
    world.send(Running("new", 30.0))
    (attempt,) = world.attempts(track_id)
    assert (attempt.poll_at, world.job(track_id).overdue_at) == (world.at + timedelta(seconds=30), None)


def test_a_new_speed_is_followed_within_an_hour_and_an_old_one_forgotten_in_a_day(world: World) -> None:
    make(world, 30, 40)
    before = of(learned(world), {})
    make(world, 5, 40)
    world.later(minutes=50)
    after = of(learned(world), {})
    assert before is not None
    assert after is not None
    assert (before.usual_s, after.usual_s, after.late_s) == (about(30), about(5), about(5))
    world.later(hours=26)
    assert of(learned(world), {}) is None


def test_the_counts_are_of_all_clients_and_pruned_with_the_others(world: World) -> None:
    make(world, 4, LEAST_JOBS // 2)
    make(world, 4, LEAST_JOBS // 2, client_id=world.client("other"))
    assert of(learned(world), {}) is not None
    names = CounterRow.name.startswith("took_s.")
    assert {(row.client_id, row.span_s) for row in world.rows(CounterRow, names)} == {("", 60), ("", 3600)}
    world.later(days=40)
    while prune(world.store, now=world.at):
        pass
    assert world.rows(CounterRow, names) == []


def test_who_asks_is_answered_at_once_and_has_it_read_in_the_background(world: World) -> None:
    """On the real clock: what was made long ago is not learned any more, so that it is made now."""
    expectations = Expectations()
    read = expectations.history(world.store)
    assert read.estimates == {}
    while expectations._lock.locked():
        pass
    assert expectations._until > 0
    assert expectations.history(world.store).estimates == {}
    assert KNOWN_FOR_S > 1
