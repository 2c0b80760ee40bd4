"""The clock's decisions: polls, deadlines, overdue jobs; and late evidence after them."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise

import pytest

from tests.flows.world import BEGINNING, World, success
from webhook_app.domain.errors import DatabaseBusy, DatabaseUnavailable
from webhook_app.domain.outcome import Failed, PollAnswer, Running, Unread
from webhook_app.flows.apart import each_apart


def sent(world: World, eta: float = 5.0) -> str:
    track_id = world.submit()
    world.send(Running(f"id-{track_id[-4:]}", eta))
    return track_id


def test_the_first_look_follows_the_eta(world: World) -> None:
    sent(world, eta=10)
    world.later(seconds=9)
    assert world.poll() == 0
    world.later(seconds=1)
    assert world.poll() == 1


def test_an_unread_answer_keeps_the_job_and_the_looks_grow_apart(world: World) -> None:
    track_id = sent(world)
    looks = []
    for _ in range(120):
        world.later(seconds=1)
        if world.poll(Unread("HTML")):
            looks.append((world.at - BEGINNING).total_seconds())
    assert world.job(track_id).status == "processing"
    gaps = [after - before for before, after in pairwise(looks)]
    assert gaps == sorted(gaps)
    assert (gaps[0], gaps[-1]) == (3, 30)
    assert world.attempts(track_id)[0].polls == len(looks)


def test_a_poll_ends_a_job_whose_callback_never_comes(world: World) -> None:
    track_id = sent(world)
    world.later(seconds=5)
    world.poll(success())
    assert world.job(track_id).status == "succeeded"
    assert world.images(track_id)[0].source_witness == "poll"
    world.later(days=1)
    assert world.poll() == 0


def test_two_pollers_ask_about_different_attempts(world: World) -> None:
    for _ in range(5):
        sent(world)
    world.later(seconds=5)
    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(lambda _: world.poll(limit=5), range(2))) == 5
    assert len(set(world.script.polled)) == len(world.script.polled) == 5


def test_a_job_without_a_result_times_out_and_is_still_asked_about(world: World) -> None:
    track_id = sent(world)
    world.later(seconds=900)
    assert world.expire() == 1
    job = world.job(track_id)
    assert (job.status, job.error["code"], job.completed_at) == ("timed_out", "no_result", world.at)
    assert not world.slots_held()
    looks = []
    for _ in range(8 * 12):
        if world.poll(Running("x")):
            looks.append(round((world.at - BEGINNING) / timedelta(minutes=1)))
        world.later(minutes=5)
    assert looks == [15, 60, 360]


def test_a_success_after_a_time_out_wins(world: World) -> None:
    track_id = sent(world)
    world.later(seconds=900)
    world.expire()
    world.later(hours=1)
    world.poll(success())
    job = world.job(track_id)
    assert (job.status, job.previous_status, job.error) == ("succeeded", "timed_out", None)
    assert world.events(track_id)[-2:] == ["job.timed_out", "job.succeeded"]


def test_a_failure_after_a_time_out_is_only_noted(world: World) -> None:
    track_id = sent(world)
    world.later(seconds=900)
    world.expire()
    world.hear(track_id, Failed("no", retryable=False))
    assert (world.job(track_id).status, world.job(track_id).error["code"]) == ("timed_out", "no_result")


def test_the_time_out_covers_all_attempts(world: World) -> None:
    track_id = sent(world)
    world.later(seconds=890)
    world.hear(track_id, Failed("Try Again", retryable=True))
    world.later(seconds=11)
    world.expire()
    assert world.job(track_id).status == "timed_out"
    assert world.send() == 0


def test_a_job_that_waits_too_long_is_overdue_and_stays(world: World) -> None:
    track_id = world.submit(timeout_s=60)
    world.later(seconds=60)
    assert world.expire() == 1
    assert world.expire() == 0
    assert world.events(track_id) == ["job.queued", "job.overdue"]
    assert world.job(track_id).status == "queued"


def test_deciding_at_once_in_many_workers_decides_once(world: World) -> None:
    for _ in range(5):
        sent(world)
    world.later(seconds=901)
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(lambda _: world.expire(), range(4))) == 5
    assert world.events().count("job.timed_out") == 5


def test_a_look_that_fails_does_not_hold_up_the_others(world: World) -> None:
    jobs = [sent(world) for _ in range(4)]
    world.later(seconds=5)
    first = world.job(jobs[0]).provider_job_id

    def fetch(model: str, provider_job_id: str, track_id: str) -> PollAnswer:
        if provider_job_id == first:
            raise ZeroDivisionError
        return success()

    world.script.fetch = fetch  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        world.poll(limit=5)
    assert [world.job(job).status for job in jobs] == ["processing", "succeeded", "succeeded", "succeeded"]


def test_with_the_database_away_there_are_no_others() -> None:
    tried = []

    def act(item: int) -> int:
        tried.append(item)
        if item == 2:
            raise DatabaseBusy("locked")
        if item == 3:
            raise DatabaseUnavailable("gone")
        return 1

    with pytest.raises(DatabaseUnavailable):
        each_apart(range(6), act)
    assert tried == [0, 1, 2, 3]


def test_a_fault_of_the_call_is_not_the_last_word_about_a_job(world: World) -> None:
    track_id = sent(world)
    world.later(seconds=900)
    world.expire()
    world.later(hours=6)
    assert world.poll(Unread("HTML")) == 1
    world.later(minutes=5)
    assert world.poll(success()) == 1
    assert world.job(track_id).status == "succeeded"


def test_what_is_over_in_a_moment_is_not_sent_again(world: World) -> None:
    track_id = sent(world)
    world.hear(track_id, Failed("Try Again", retryable=True))
    world.later(seconds=901)
    assert world.send() == 0
    world.expire()
    assert world.job(track_id).status == "timed_out"
    assert len(world.script.submitted) == 1
