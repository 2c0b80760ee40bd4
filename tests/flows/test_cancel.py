"""Stopping jobs: at every point of their lives, for good, and without taking the provider's slot away."""

import pytest
from sqlalchemy import update

from tests.flows.world import World, success
from webhook_app.domain.advance import Verdict
from webhook_app.domain.errors import Erased, JobAlreadyEnded, NotFound
from webhook_app.domain.ids import new_track_id
from webhook_app.domain.outcome import Failed, Running, Unconfirmed
from webhook_app.flows.cancel import cancel
from webhook_app.provider.port import Submission
from webhook_app.store.tables import EventRow, Job


def stop(world: World, track_id: str) -> None:
    cancel(world.store, track_id, by="key:k", now=world.at)


def test_a_queued_job_is_never_sent(world: World) -> None:
    track_id = world.submit()
    (claim,) = world.claim()
    stop(world, track_id)
    world.send_claim(claim)
    assert (world.claim(), world.script.submitted) == ([], [])
    job = world.job(track_id)
    assert (job.status, job.completed_at, job.waiting_for, job.due_at) == ("canceled", world.at, None, None)
    told = world.rows(EventRow, EventRow.track_id == track_id)[-1]
    assert (told.type, told.actor, told.data) == ("job.canceled", "key:k", {"attempt": 0, "was": "queued"})
    world.later(seconds=1000)
    assert world.expire() == 0


def test_a_running_job_keeps_its_slot_until_the_provider_is_done(world: World) -> None:
    track_id = world.submit()
    world.send(Running("7", 5.0))
    stop(world, track_id)
    assert world.slots_held() == {track_id: 1}
    assert world.hear(track_id, Running("7", 1.0)) is Verdict.CANCELED
    assert world.slots_held() == {track_id: 1}
    assert world.hear(track_id, success()) is Verdict.CANCELED
    assert world.slots_held() == {}
    assert [row.sources for row in world.images(track_id)] == [[]]
    assert (world.job(track_id).status, len(world.callbacks())) == ("canceled", 1 + 1)


@pytest.mark.parametrize("answer", [Running("7", 5.0), success(), Unconfirmed("reset"), Failed("no", retryable=True)])
def test_a_job_that_is_canceled_while_it_is_sent_stays_so(world: World, answer: object) -> None:
    track_id = world.submit()

    def meanwhile(_: Submission) -> None:
        stop(world, track_id)

    world.script.during = meanwhile
    world.send(answer)
    job = world.job(track_id)
    assert (job.status, job.unconfirmed_since, job.due_at) == ("canceled", None, None)
    world.later(seconds=1000)
    assert (world.expire(), world.send()) == (0, 0)


def test_an_unconfirmed_job_is_not_decided_any_more(world: World) -> None:
    track_id = world.submit()
    world.send(Unconfirmed("reset"))
    stop(world, track_id)
    world.later(seconds=1000)
    assert world.expire() == 0
    assert world.job(track_id).status == "canceled"


def test_a_cancel_may_be_repeated_and_undoes_no_other_end(world: World) -> None:
    track_id = world.submit()
    stop(world, track_id)
    version = world.job(track_id).version
    stop(world, track_id)
    assert world.job(track_id).version == version
    done = world.submit()
    world.send(success())
    with pytest.raises(JobAlreadyEnded, match="succeeded"):
        stop(world, done)
    with world.store.writing() as connection:
        connection.execute(update(Job).where(Job.track_id == done).values(erased_at=world.at))
    with pytest.raises(Erased):
        stop(world, done)
    with pytest.raises(NotFound):
        stop(world, new_track_id())
