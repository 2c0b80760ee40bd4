"""Sending: claims and slots, the attempt's row before the socket, and every kind of answer."""

from datetime import timedelta

import pytest

from tests.flows.world import World, success
from webhook_app.domain.errors import ErrorCode
from webhook_app.domain.job import OnUnconfirmed
from webhook_app.domain.outcome import Failed, Later, NotSent, Refused, Running, Unconfirmed
from webhook_app.flows import pausing, submit
from webhook_app.provider.port import Submission
from webhook_app.store.tables import Slot

TRY_AGAIN = Failed("Failed, Try Again", retryable=True)


def test_two_workers_share_the_slots(world: World) -> None:
    for _ in range(8):
        world.submit()
    first, second = world.claim(owner="w1", limit=3), world.claim(owner="w2", limit=10)
    assert (len(first), len(second)) == (3, 2)
    assert len({claim.track_id for claim in first + second}) == 5
    assert not world.claim(owner="w3")


def test_a_worker_that_dies_before_it_sends_gives_its_jobs_back_by_time(world: World) -> None:
    track_id = world.submit()
    (dead,) = world.claim(owner="dead")
    world.later(seconds=31)
    (alive,) = world.claim(owner="alive")
    assert (dead.track_id, alive.fence) == (track_id, dead.fence + 1)
    world.send_claim(dead, owner="dead")
    assert not world.script.submitted
    world.send_claim(alive, owner="alive")
    assert len(world.script.submitted) == 1
    assert world.slots_held() == {track_id: 1}


def test_a_sender_that_died_in_a_living_worker_loses_its_claim(world: World) -> None:
    world.submit()
    world.claim(owner="w1")
    for _ in range(4):
        world.later(seconds=10)
        submit.renew(world.store, owner="w1", now=world.at)
    assert len(world.claim(owner="w1")) == 1


def test_a_submit_without_an_end_is_given_up_in_a_living_worker(world: World) -> None:
    def die(_: Submission) -> None:
        raise ZeroDivisionError

    track_id = world.submit()
    world.script.during = die
    with pytest.raises(ZeroDivisionError):
        world.send()
    for _ in range(22):
        world.later(seconds=10)
        submit.renew(world.store, owner="w1", now=world.at)
        world.expire()
    assert world.job(track_id).waiting_for == "confirmation"


def test_a_submit_in_hand_keeps_its_lease(world: World) -> None:
    def work(_: Submission) -> None:
        for _tick in range(6):
            world.later(seconds=10)
            assert submit.renew(world.store, owner="w1", now=world.at) == 1
            world.expire()

    track_id = world.submit()
    world.script.during = work
    world.send()
    assert world.job(track_id).status == "processing"
    assert "submit.unconfirmed" not in world.events(track_id)


def test_priority_goes_first_and_then_age(world: World) -> None:
    old, new, urgent = world.submit(), world.submit(), world.submit(priority=5)
    assert {claim.track_id for claim in world.claim(limit=1)} == {urgent}
    assert {claim.track_id for claim in world.claim(limit=1)} == {old}
    assert {claim.track_id for claim in world.claim(limit=1)} == {new}


def test_clients_take_turns(world: World) -> None:
    for _ in range(60):
        world.submit(priority=100)
    other = world.submit(client_id=world.client("other"), priority=-100)
    assert other in {claim.track_id for claim in world.claim(limit=2)}


def test_surplus_slots_go_when_fewer_are_allowed(world: World) -> None:
    for _ in range(5):
        world.submit()
    world.send()
    world.obey(max_in_flight=2)
    assert not world.claim()
    world.later(seconds=121)
    world.submit()
    assert len(world.claim()) == 1
    assert len([row for row in world.rows(Slot) if row.n < 2]) == 2


def test_the_attempt_is_committed_before_the_provider_hears(world: World) -> None:
    def look(submission: Submission) -> None:
        job, (attempt,) = world.job(submission.track_id), world.attempts(submission.track_id)
        assert (job.status, job.attempt, job.spent, job.submitted_at) == ("submitting", 1, 1, world.at)
        assert job.deadline_at == world.at + timedelta(seconds=900)
        assert (attempt.evidence, attempt.sent_at, attempt.sends) == ("none", world.at, 1)
        assert submission.callback_url == f"https://us.example/{submission.track_id}/1"
        assert submission.input["seed"] == job.seed

    track_id = world.submit()
    world.script.during = look
    world.send(Running("77", 4.0))
    job, (attempt,) = world.job(track_id), world.attempts(track_id)
    assert (job.status, job.waiting_for, job.provider_job_id) == ("processing", "callback", "77")
    assert (attempt.evidence, attempt.poll_at - world.at) == ("running", timedelta(seconds=4))
    assert world.events(track_id) == ["job.queued", "job.submitted"]


def test_what_provably_was_not_sent_goes_again_as_the_same_attempt(world: World) -> None:
    track_id = world.submit()
    world.send(NotSent("dns"))
    job = world.job(track_id)
    assert (job.status, job.attempt, job.spent, job.deadline_at, job.submitted_at) == ("queued", 1, 0, None, None)
    assert job.overdue_at == job.created_at + timedelta(seconds=900)
    assert not world.slots_held()
    assert world.send() == 0
    world.later(seconds=2)
    world.send(Running("77"))
    (attempt,) = world.attempts(track_id)
    assert (attempt.n, attempt.sends, attempt.evidence) == (1, 2, "running")
    job = world.job(track_id)
    assert (job.spent, job.overdue_at, job.deadline_at) == (1, None, world.at + timedelta(seconds=900))


def test_a_job_that_was_never_sent_is_overdue_once_and_never_timed_out(world: World) -> None:
    track_id = world.submit()
    world.send(NotSent("dns"))
    for _ in range(3):
        world.later(seconds=901)
        world.expire()
        world.send(NotSent("dns"))
    assert world.job(track_id).status == "queued"
    assert world.events(track_id).count("job.overdue") == 1


def test_no_room_pauses_the_provider_and_costs_nothing(world: World) -> None:
    track_id, other = world.submit(), world.submit()
    world.send_claim(world.claim(limit=1)[0], Later("full", 7.0))
    assert (world.job(track_id).status, world.job(track_id).spent) == ("queued", 0)
    assert world.pause() == "queue_full"
    world.later(seconds=6)
    assert world.send() == 0
    world.later(seconds=2)
    assert world.send() == 2
    assert world.pause() is None
    assert world.events().count("provider.paused") == world.events().count("provider.resumed") == 1
    assert world.attempts(track_id)[0].n == world.attempts(other)[0].n == 1


def test_a_refused_key_pauses_the_provider_and_keeps_the_job(world: World) -> None:
    track_id = world.submit()
    world.send(Refused("Invalid API Key", ErrorCode.PROVIDER_AUTH))
    assert (world.job(track_id).status, world.pause()) == ("queued", "provider_auth")


def test_a_shorter_pause_does_not_end_a_longer_one(world: World) -> None:
    for _ in range(2):
        world.submit()
    one, two = world.claim()
    world.send_claim(one, Refused("Invalid API Key", ErrorCode.PROVIDER_AUTH))
    world.send_claim(two, Later("full", 1.0))
    world.later(seconds=30)
    assert world.send() == 0
    assert world.pause() == "provider_auth"


def test_an_operator_s_pause_lasts_until_it_is_ended(world: World) -> None:
    world.submit()
    pausing.pause(world.store, "modelslab", reason="maintenance", by="operator", until=None, now=world.at)
    world.later(days=3)
    assert world.send() == 0
    assert pausing.resume(world.store, "modelslab", by="operator", now=world.at)
    assert not pausing.resume(world.store, "modelslab", by="operator", now=world.at)
    assert world.send() == 1


def test_a_refused_request_fails_at_once(world: World) -> None:
    track_id = world.submit()
    world.send(Refused("The width field must be at most 1024.", ErrorCode.INVALID_INPUT))
    job = world.job(track_id)
    assert (job.status, job.error["code"], job.completed_at) == ("failed", "invalid_input", world.at)
    assert world.events(track_id)[-1] == "job.failed"
    assert not world.slots_held()


def test_try_again_is_another_attempt_until_they_are_used_up(world: World) -> None:
    track_id = world.submit()
    for n in (1, 2, 3):
        assert world.send(TRY_AGAIN) == 1, n
        world.later(seconds=60)
    job = world.job(track_id)
    assert (job.status, job.attempt, job.spent, job.error["code"]) == ("failed", 3, 3, "attempts_exhausted")
    assert [row.evidence for row in world.attempts(track_id)] == ["retryable"] * 3
    urls = [submission.callback_url for submission in world.script.submitted]
    assert [url[-1] for url in urls if url] == ["1", "2", "3"]
    assert len({submission.input["seed"] for submission in world.script.submitted}) == 1


def test_pictures_at_once_end_the_job(world: World) -> None:
    track_id = world.submit()
    world.send(success("https://anywhere.example/0.png", provider_job_id="9"))
    job, (image,) = world.job(track_id), world.images(track_id)
    assert (job.status, job.archive_status, job.waiting_for) == ("succeeded", "pending", "archive")
    assert (image.source_witness, image.fetch_at) == ("submit", world.at)


def test_an_unconfirmed_submit_waits_and_is_repeated_with_the_same_seed(world: World) -> None:
    track_id = world.submit()
    world.send(Unconfirmed("read time-out"))
    job = world.job(track_id)
    assert (job.status, job.waiting_for, job.unconfirmed_since) == ("submitting", "confirmation", world.at)
    world.later(seconds=119)
    assert world.expire() == 0
    world.later(seconds=1)
    assert world.expire() == 1
    assert world.send(Running("2")) == 1
    assert [row.n for row in world.attempts(track_id)] == [1, 2]
    assert len({submission.input["seed"] for submission in world.script.submitted}) == 1
    assert world.job(track_id).spent == 2


def test_a_worker_s_death_after_the_row_is_an_unconfirmed_submit(world: World) -> None:
    def die(_: Submission) -> None:
        raise KeyboardInterrupt

    track_id = world.submit()
    world.script.during = die
    with pytest.raises(KeyboardInterrupt):
        world.send()
    world.script.during = None
    world.later(seconds=31)
    assert world.expire() == 1
    assert world.job(track_id).waiting_for == "confirmation"
    world.later(seconds=121)
    world.expire()
    assert world.send() == 1
    assert [row.sends for row in world.attempts(track_id)] == [1, 1]


def test_on_hold_nothing_happens_by_itself_and_the_clock_stands_still(world: World) -> None:
    world.obey(on_unconfirmed=OnUnconfirmed.HOLD)
    track_id = world.submit()
    world.send(Unconfirmed("reset"))
    world.later(days=2)
    assert world.expire() == 0
    world.hear(track_id, Running("77"))
    assert world.expire() == 0
    assert world.job(track_id).deadline_at == world.at + timedelta(seconds=900)


def test_an_unconfirmed_submit_may_be_a_failure_that_a_late_success_undoes(world: World) -> None:
    world.obey(on_unconfirmed=OnUnconfirmed.FAIL)
    track_id = world.submit()
    world.send(Unconfirmed("reset"))
    world.later(seconds=120)
    world.expire()
    assert world.job(track_id).error["code"] == "submit_unconfirmed"
    world.hear(track_id, success())
    job = world.job(track_id)
    assert (job.status, job.previous_status, job.error) == ("succeeded", "failed", None)


def test_evidence_for_a_given_up_attempt_stops_its_repetition(world: World) -> None:
    track_id = world.submit()
    world.send(Unconfirmed("reset"))
    world.later(seconds=120)
    world.expire()
    (claim,) = world.claim()
    world.hear(track_id, Running("77"))
    world.send_claim(claim)
    assert len(world.script.submitted) == 1
    assert (world.job(track_id).status, world.job(track_id).spent) == ("processing", 1)


def test_a_callback_may_come_before_the_answer(world: World) -> None:
    track_id = world.submit()
    world.script.during = lambda submission: world.hear(track_id, success()) and None
    world.send(Running("77", 5.0))
    job, (attempt,) = world.job(track_id), world.attempts(track_id)
    assert (job.status, job.provider_job_id, attempt.evidence) == ("succeeded", "77", "success")
    assert attempt.poll_at is None
    assert not world.slots_held()


def test_a_late_answer_of_a_worker_thought_dead_is_evidence(world: World) -> None:
    def sleep(_: Submission) -> None:
        world.later(seconds=40)
        world.expire()
        world.later(seconds=121)
        world.expire()

    track_id = world.submit()
    world.script.during = sleep
    world.send(success(provider_job_id="1"))
    assert world.job(track_id).status == "succeeded"
    assert world.send() == 0


def test_a_late_unconfirmed_does_not_start_the_wait_anew(world: World) -> None:
    def sleep(_: Submission) -> None:
        world.later(seconds=40)
        world.expire()
        world.later(seconds=30)

    track_id = world.submit()
    world.script.during = sleep
    world.send(Unconfirmed("read time-out"))
    assert world.job(track_id).unconfirmed_since == world.at - timedelta(seconds=30)
    assert world.events(track_id).count("submit.unconfirmed") == 1


def test_an_answer_recorded_twice_does_not_touch_the_next_sending(world: World) -> None:
    track_id = world.submit()
    (claim,) = world.claim()
    sending = submit.Sending(claim, 1, 1, 0.0)
    world.send_claim(claim, NotSent("dns"))
    world.later(seconds=2)

    def again(_: Submission) -> None:
        submit._record(world.store, sending, NotSent("dns"), world.policy, world.now)
        assert world.job(track_id).status == "submitting"

    world.script.during = again
    world.send(Running("77"))
    assert world.job(track_id).status == "processing"


def test_a_late_success_of_an_older_attempt_wins_and_keeps_its_id(world: World) -> None:
    track_id = world.submit()
    world.send(Running("one"))
    world.hear(track_id, TRY_AGAIN)
    world.later(seconds=60)
    world.send(Running("two"))
    world.hear(track_id, success(provider_job_id="one"))
    world.hear(track_id, success("https://known.example/other.png", provider_job_id="two"), attempt=2)
    assert (world.job(track_id).status, world.job(track_id).provider_job_id) == ("succeeded", "one")
    assert world.images(track_id)[0].sources == ["https://known.example/0.png"]


def test_stopping_gives_back_what_was_not_begun(world: World) -> None:
    for _ in range(3):
        world.submit()
    first, *_ = world.claim(owner="w1")
    world.send_claim(first, owner="w1")
    assert submit.give_back(world.store, owner="w1", now=world.at) == 2
    assert world.slots_held() == {first.track_id: 1}
    assert len(world.claim(owner="w2")) == 2
