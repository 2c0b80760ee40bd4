"""Submits that nobody confirmed: how long they wait, what is decided then, by whom, and how often."""

from datetime import timedelta

import pytest

from tests.flows.world import World, success
from webhook_app.domain.errors import JobAlreadyEnded, NotFound, NotOnHold
from webhook_app.domain.ids import new_track_id
from webhook_app.domain.job import Decision, OnUnconfirmed
from webhook_app.domain.outcome import Failed, Later, NotSent, Running, Unconfirmed
from webhook_app.flows.seal import seal
from webhook_app.flows.unconfirmed import resolve
from webhook_app.provider.port import Submission

LOST = Unconfirmed("the connection was reset")


def unconfirmed(world: World, **more: object) -> str:
    """A job whose submit was lost on its way."""
    track_id = world.submit(**more)
    world.send(LOST)
    assert world.job(track_id).waiting_for == "confirmation"
    return track_id


def test_what_the_provider_needs_at_present_is_waited_for_twice(world: World) -> None:
    other = world.submit()
    world.send(Running("1", 200.0))
    track_id = unconfirmed(world)
    world.later(seconds=399)
    world.expire()
    assert world.job(track_id).waiting_for == "confirmation"
    world.later(seconds=1)
    world.expire()
    assert world.job(track_id).status == "queued"
    assert world.job(other).status == "processing"


def test_a_wait_does_not_lengthen_the_next_one(world: World) -> None:
    for _ in range(3):
        track_id = unconfirmed(world)
        world.later(seconds=120)
        world.expire()
        assert world.job(track_id).status == "queued"
        world.send(Running("1"))
        world.later(seconds=4)
        world.hear(track_id, success(), attempt=2)
        assert world.job(track_id).status == "succeeded"
        seal(world.store)


def test_an_absurd_eta_holds_nobody_for_more_than_an_hour(world: World) -> None:
    world.submit()
    world.send(Running("1", 80_000.0))
    track_id = unconfirmed(world, timeout_s=86_400)
    world.later(minutes=59)
    world.expire()
    assert world.job(track_id).status == "submitting"
    world.later(minutes=1)
    world.expire()
    assert world.job(track_id).status == "queued"


def test_a_repeat_is_marked_and_has_the_same_seed(world: World) -> None:
    track_id = unconfirmed(world)
    world.later(seconds=120)
    world.expire()
    world.send(Running("8"))
    assert [attempt.repeats_unconfirmed for attempt in world.attempts(track_id)] == [False, True]
    one, two = world.script.submitted
    assert one.input["seed"] == two.input["seed"] is not None
    assert one.callback_url != two.callback_url


def test_try_again_and_unsent_submits_are_no_repeats(world: World) -> None:
    track_id = world.submit()
    world.send(NotSent("dns"))
    world.later(seconds=5)
    world.send(Failed("Try Again", retryable=True))
    world.later(seconds=60)
    world.send(Running("8"))
    assert [attempt.repeats_unconfirmed for attempt in world.attempts(track_id)] == [False, False]


def test_the_hour_allows_so_many_repeats_and_no_more(world: World) -> None:
    world.obey(repeats_per_hour=3, max_in_flight=20)
    jobs = [unconfirmed(world, timeout_s=86_400) for _ in range(5)]
    world.later(seconds=120)
    assert world.expire() == 3
    assert world.expire() == 0
    assert world.send(*[Running(str(n)) for n in range(3)]) == 3
    world.later(seconds=600)
    world.expire()
    waiting = [job for job in jobs if world.job(job).waiting_for == "confirmation"]
    assert waiting == jobs[3:]
    world.later(seconds=3001)
    world.expire()
    assert {world.job(job).status for job in waiting} == {"queued"}


def test_a_repeat_that_was_turned_down_keeps_its_place(world: World) -> None:
    world.obey(repeats_per_hour=1)
    first, second = unconfirmed(world), unconfirmed(world)
    world.later(seconds=120)
    world.expire()
    world.send(Later("full", 1.0))
    assert world.job(first).status == "queued"
    world.later(seconds=2)
    world.expire()
    # The first one's repeat is still to come, so there is no place yet.
    assert world.job(second).waiting_for == "confirmation"


@pytest.mark.parametrize("on_unconfirmed", OnUnconfirmed)
def test_each_of_the_three_forms(world: World, on_unconfirmed: OnUnconfirmed) -> None:
    world.obey(on_unconfirmed=on_unconfirmed)
    track_id = unconfirmed(world)
    world.later(seconds=121)
    world.expire()
    status = {"repeat": "queued", "hold": "submitting", "fail": "failed"}[on_unconfirmed]
    job = world.job(track_id)
    assert job.status == status
    assert (job.error or {}).get("code") == ("submit_unconfirmed" if status == "failed" else None)
    world.later(seconds=1000)
    world.expire()
    ended = {"repeat": "timed_out", "hold": "submitting", "fail": "failed"}[on_unconfirmed]
    assert world.job(track_id).status == ended
    world.hear(track_id, success())
    assert world.job(track_id).status == "succeeded"


def test_with_the_attempts_used_up_there_is_no_other_repeat(world: World) -> None:
    world.obey(attempts_allowed=1)
    track_id = unconfirmed(world)
    world.later(seconds=121)
    world.expire()
    assert world.job(track_id).error["code"] == "submit_unconfirmed"


def test_somebody_repeats_what_is_on_hold_and_its_clock_stood_still(world: World) -> None:
    world.obey(on_unconfirmed=OnUnconfirmed.HOLD, attempts_allowed=1, repeats_per_hour=0)
    track_id = unconfirmed(world)
    before = world.job(track_id).deadline_at
    world.later(hours=5)
    resolve(world.store, track_id, decision=Decision.REPEAT, by="key:key_1", now=world.at)
    job = world.job(track_id)
    assert (job.status, job.deadline_at - before, job.unconfirmed_since) == ("queued", timedelta(hours=5), None)
    assert not world.slots_held()
    world.send(Running("8"))
    assert world.job(track_id).status == "processing"
    assert world.events(track_id)[-2:] == ["submit.retried", "job.submitted"]


def test_somebody_gives_up_what_is_on_hold(world: World) -> None:
    world.obey(on_unconfirmed=OnUnconfirmed.HOLD)
    track_id = unconfirmed(world)
    resolve(world.store, track_id, decision=Decision.FAIL, by="operator", now=world.at)
    job = world.job(track_id)
    assert (job.status, job.error["code"], job.completed_at) == ("failed", "submit_unconfirmed", world.at)
    with pytest.raises(JobAlreadyEnded):
        resolve(world.store, track_id, decision=Decision.REPEAT, by="operator", now=world.at)


def test_there_is_nothing_to_decide_for_other_jobs(world: World) -> None:
    with pytest.raises(NotFound):
        resolve(world.store, new_track_id(), decision=Decision.FAIL, by="operator", now=world.at)
    with pytest.raises(NotOnHold):
        resolve(world.store, world.submit(), decision=Decision.FAIL, by="operator", now=world.at)


# A job that was accepted without an id


def test_a_job_without_an_id_waits_for_its_callback_and_then_for_confirmation(world: World) -> None:
    track_id = world.submit()
    world.send(Running(None, 40.0))
    world.later(seconds=79)
    assert world.poll() == 0
    world.later(seconds=1)
    assert world.poll() == 1
    assert not world.script.polled
    job = world.job(track_id)
    assert (job.status, job.waiting_for, job.unconfirmed_since) == ("processing", "confirmation", world.at)
    world.later(seconds=120)
    world.expire()
    assert world.job(track_id).status == "queued"
    world.send(Running("8"))
    assert [attempt.repeats_unconfirmed for attempt in world.attempts(track_id)] == [False, True]


def test_its_callback_ends_the_wait(world: World) -> None:
    track_id = world.submit()
    world.send(Running())
    world.later(seconds=60)
    world.poll()
    world.hear(track_id, success())
    job = world.job(track_id)
    assert (job.status, job.unconfirmed_since) == ("succeeded", None)
    assert world.attempts(track_id)[0].poll_at is None


@pytest.mark.parametrize("given_up", [False, True], ids=["waiting", "queued again"])
def test_an_id_that_comes_late_is_asked_about_instead_of_paying_again(world: World, given_up: bool) -> None:
    track_id = world.submit()
    world.send(Running())
    world.later(seconds=60)
    world.poll()
    if given_up:
        world.later(seconds=120)
        world.expire()
        assert world.job(track_id).status == "queued"
    world.hear(track_id, Running("77", 4.0))
    job = world.job(track_id)
    assert (job.status, job.waiting_for, job.provider_job_id) == ("processing", "callback", "77")
    assert world.send() == 0
    world.later(seconds=4)
    world.poll(success())
    assert world.job(track_id).status == "succeeded"
    assert len(world.script.submitted) == 1


def test_a_lost_answer_after_news_without_an_id_does_not_shorten_the_wait(world: World) -> None:
    def meanwhile(submission: Submission) -> None:
        world.hear(submission.track_id, Running(None, 200.0))

    track_id = world.submit()
    world.script.during = meanwhile
    world.send(LOST)
    assert (world.job(track_id).status, world.job(track_id).waiting_for) == ("processing", "callback")
    world.later(seconds=399)
    assert world.poll() == 0
    world.later(seconds=1)
    assert world.poll() == 1
    assert world.job(track_id).waiting_for == "confirmation"
