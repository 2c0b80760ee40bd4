"""Several workers at the same item (reliability.md, F23), and one that was stopped past its lease (F24): one action for
each item, whoever was first."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from tests.flows.world import World, success
from webhook_app.domain.job import OnUnconfirmed
from webhook_app.domain.outcome import Failed, NotSent, Running, Unconfirmed, Unread
from webhook_app.flows.receive import apply_stored, keep_raw
from webhook_app.provider.port import Submission
from webhook_app.store.tables import Attempt, EventRow

WORKERS = 4


def at_once(act: Callable[[], int]) -> int:
    """What all workers did together."""
    with ThreadPoolExecutor(WORKERS) as pool:
        return sum(pool.map(lambda _: act(), range(WORKERS)))


def told(world: World, kind: str) -> Counter[str]:
    """How often this was told of each job."""
    return Counter(row.track_id for row in world.rows(EventRow, EventRow.type == kind))


def sent(world: World, jobs: int, answer: Running | Unconfirmed | None = None) -> list[str]:
    track_ids = [world.submit() for _ in range(jobs)]
    world.send(*[answer or Running(f"id-{n}", 5.0) for n in range(jobs)])
    return track_ids


def test_every_silent_job_is_asked_about_once(world: World) -> None:
    track_ids = sent(world, 5)
    for look in (1, 2):
        world.later(seconds=60)
        assert at_once(lambda: world.poll(limit=2) + world.poll(limit=3)) == 5
        assert Counter(world.script.polled) == {f"id-{n}": look for n in range(5)}
    assert {row.polls for row in world.rows(Attempt)} == {2}
    assert len(track_ids) == 5


def test_a_dead_worker_s_jobs_are_given_up_once(world: World) -> None:
    def die(_: Submission) -> None:
        raise KeyboardInterrupt

    track_ids = [world.submit() for _ in range(5)]
    world.script.during = die
    for claim in world.claim():
        try:
            world.send_claim(claim)
        except KeyboardInterrupt:
            continue
    world.later(seconds=31)
    assert at_once(world.expire) == 5
    assert told(world, "submit.unconfirmed") == dict.fromkeys(track_ids, 1)


def test_an_unconfirmed_submit_is_repeated_once(world: World) -> None:
    track_ids = sent(world, 5, Unconfirmed("reset"))
    world.later(seconds=121)
    assert at_once(world.expire) == 5
    assert told(world, "submit.retried") == dict.fromkeys(track_ids, 1)
    assert at_once(world.send) == 5
    assert Counter(row.track_id for row in world.rows(Attempt)) == dict.fromkeys(track_ids, 2)
    assert Counter(submission.track_id for submission in world.script.submitted) == dict.fromkeys(track_ids, 2)


def test_an_unconfirmed_submit_fails_once(world: World) -> None:
    world.obey(on_unconfirmed=OnUnconfirmed.FAIL)
    track_ids = sent(world, 5, Unconfirmed("reset"))
    world.later(seconds=121)
    assert at_once(world.expire) == 5
    assert told(world, "job.failed") == dict.fromkeys(track_ids, 1)


def test_an_overdue_job_is_told_once(world: World) -> None:
    track_ids = [world.submit(timeout_s=60) for _ in range(5)]
    world.later(seconds=61)
    assert at_once(world.expire) == 5
    assert told(world, "job.overdue") == dict.fromkeys(track_ids, 1)


def test_a_callback_that_was_kept_raw_is_applied_once(world: World) -> None:
    track_ids = sent(world, 5)
    arrivals = [world.arrival(track_id, world.body(success())) for track_id in track_ids]
    keep_raw(world.store, arrivals, problem="the disk was full")
    world.later(seconds=6)

    def tick() -> int:
        return apply_stored(world.store, world.providers, limit=5, policy=world.policy, now=world.at)

    at_once(tick)
    assert told(world, "callback.received") == told(world, "job.succeeded") == dict.fromkeys(track_ids, 1)
    assert [row.times_seen for row in world.callbacks()] == [1] * 5


def test_a_callback_while_a_worker_asks_is_the_job_s_end_and_the_answer_changes_nothing(world: World) -> None:
    for answer in (Running("id-0"), success(), Failed("no", retryable=False), Unread("HTML")):
        (track_id,) = sent(world, 1)
        world.later(seconds=6)
        world.script.during_fetch = lambda track_id=track_id: world.hear(track_id, success())
        assert world.poll(answer) == 1
        world.script.during_fetch = None
        assert world.job(track_id).status == "succeeded"
        assert world.attempts(track_id)[0].poll_at is None
        assert told(world, "job.succeeded")[track_id] == 1


def test_a_worker_stopped_before_it_sends_finds_its_lease_gone(world: World) -> None:
    track_id = world.submit()
    (stopped,) = world.claim(owner="w1")
    world.later(seconds=31)
    (other,) = world.claim(owner="w2")
    assert other.fence > stopped.fence
    world.send_claim(stopped, owner="w1")
    assert world.script.submitted == []
    world.send_claim(other, Running("1"), owner="w2")
    assert [row.worker for row in world.attempts(track_id)] == ["w2"]


def test_a_worker_stopped_before_the_socket_undoes_nothing_when_it_goes_on(world: World) -> None:
    """It says that it never sent; meanwhile its attempt was given up and the next one went out."""

    def stopped(_: Submission) -> None:
        world.script.during = None
        world.later(seconds=31)
        world.expire()
        world.later(seconds=121)
        world.expire()
        (claim,) = world.claim(owner="w2")
        world.send_claim(claim, Running("two", 5.0), owner="w2")
        world.script.answers.append(NotSent("the worker was paused before it could send"))

    track_id = world.submit()
    world.script.during = stopped
    (claim,) = world.claim(owner="w1")
    world.send_claim(claim, owner="w1")
    assert [(row.n, row.evidence) for row in world.attempts(track_id)] == [(1, "not_sent"), (2, "running")]
    job = world.job(track_id)
    assert (job.status, job.attempt, job.provider_job_id) == ("processing", 2, "two")
    assert told(world, "submit.unconfirmed")[track_id] == 1


def test_a_late_not_sent_of_a_worker_thought_dead_costs_no_attempt(world: World) -> None:
    def stopped(_: Submission) -> None:
        world.later(seconds=31)
        world.expire()

    track_id = world.submit()
    world.script.during = stopped
    world.send(NotSent("the worker was paused before it could send"))
    job = world.job(track_id)
    assert (job.status, job.spent, job.unconfirmed_since) == ("queued", 0, None)
    world.script.during = None
    world.later(seconds=5)
    world.send(Running("1"))
    assert [(row.n, row.sends) for row in world.attempts(track_id)] == [(1, 2)]
    assert world.job(track_id).deadline_at == world.at + timedelta(seconds=900)
