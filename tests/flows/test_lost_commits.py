"""Commits of the sender that land while their acknowledgement is lost: it looks again, and nothing counts twice."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from tests.flows.world import World
from webhook_app.domain.errors import DatabaseUnavailable
from webhook_app.domain.outcome import Failed, Running
from webhook_app.store.engine import Store


class Forgetful(Store):
    """The next commit lands, and its acknowledgement is lost."""

    lost = False

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        with super().writing() as connection:
            yield connection
        if not self.lost:
            self.lost = True
            raise DatabaseUnavailable("The connection was lost.")


def test_a_worker_that_does_not_know_its_own_commit_takes_the_job_back(world: World) -> None:
    track_id = world.submit()
    (claim,) = world.claim()
    world.store = Forgetful(world.store.url.render_as_string(hide_password=False))
    world.send_claim(claim)
    assert not world.script.submitted
    job, (attempt,) = world.job(track_id), world.attempts(track_id)
    assert (job.status, job.spent, attempt.evidence) == ("queued", 0, "not_sent")
    assert not world.slots_held()
    world.later(seconds=2)
    world.send(Running("77"))
    assert [(attempt.n, attempt.sends) for attempt in world.attempts(track_id)] == [(1, 2)]
    world.store.dispose()


def test_an_answer_whose_commit_was_not_confirmed_counts_once(world: World) -> None:
    track_id = world.submit()
    (claim,) = world.claim()
    world.script.during = lambda _: setattr(world.store, "lost", False)
    world.store = Forgetful(world.store.url.render_as_string(hide_password=False))
    world.store.lost = True
    world.send_claim(claim, Failed("Try Again", retryable=True))
    assert (world.job(track_id).status, world.job(track_id).spent) == ("queued", 1)
    assert world.events(track_id).count("submit.retried") == 1
    world.store.dispose()
