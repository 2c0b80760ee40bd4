"""Who may be sent to a provider that refuses everybody: one job at a time, until it is taken."""

import pytest

from tests.flows.world import World, success
from webhook_app.domain.errors import ErrorCode
from webhook_app.domain.outcome import Later, NotSent, Refused, Running, Unconfirmed
from webhook_app.flows import pausing
from webhook_app.store.tables import EventRow, ProviderState

NO_KEY = Refused("Invalid API key", ErrorCode.PROVIDER_AUTH)
NO_CREDIT = Refused("Insufficient credits.", ErrorCode.PROVIDER_QUOTA)


def refused(world: World, jobs: int = 3, answer: Refused = NO_KEY) -> list[str]:
    """A provider that has refused the first of these jobs."""
    made = [world.submit() for _ in range(jobs)]
    world.send_claim(world.claim(limit=1)[0], answer)
    return made


def test_one_job_at_a_time_tries_whether_the_refusal_has_ended(world: World) -> None:
    jobs = refused(world)
    world.later(seconds=59)
    assert world.send() == 0
    world.later(seconds=2)
    (probe,) = world.claim()
    assert not world.claim(owner="w2")
    world.send_claim(probe, Running("7", 3.0))
    assert world.pause() is None
    assert {claim.track_id for claim in world.claim()} == set(jobs) - {probe.track_id}
    assert world.events().count("provider.paused") == world.events().count("provider.resumed") == 1


@pytest.mark.parametrize("answer", [NO_KEY, NO_CREDIT], ids=["key", "credit"])
def test_a_refused_probe_waits_longer_each_time_and_fails_no_job(world: World, answer: Refused) -> None:
    jobs = refused(world, answer=answer)
    waits = []
    for _ in range(8):
        waited = 0
        while not (claims := world.claim()):
            world.later(seconds=20)
            waited += 20
        assert len(claims) == 1
        world.send_claim(claims[0], answer)
        waits.append(waited)
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert {(world.job(job).status, world.job(job).spent) for job in jobs} == {("queued", 0)}
    assert world.events().count("provider.paused") == 1


def test_jobs_in_flight_when_the_refusals_began_do_not_prolong_them(world: World) -> None:
    for _ in range(4):
        world.submit()
    for claim in world.claim():
        world.send_claim(claim, NO_KEY)
    assert world.rows(ProviderState)[0].refusals == 1
    world.later(seconds=61)
    assert len(world.claim()) == 1


def test_a_probe_that_tells_nothing_is_followed_by_another(world: World) -> None:
    refused(world)
    world.later(seconds=61)
    world.send(NotSent("dns"))
    assert world.pause() == "provider_auth"
    world.later(seconds=31)
    assert world.send(Unconfirmed("reset")) == 1
    assert world.send() == 0
    world.later(seconds=106)
    (probe,) = world.claim()
    world.send_claim(probe, success())
    assert world.pause() is None


def test_a_probe_lost_with_its_worker_is_followed_by_another(world: World) -> None:
    refused(world)
    world.later(seconds=61)
    assert len(world.claim(owner="dead")) == 1
    world.later(seconds=106)
    assert len(world.claim()) == 1


def test_a_full_queue_told_to_a_probe_means_that_the_key_is_good(world: World) -> None:
    refused(world)
    world.later(seconds=61)
    world.send(Later("full", 7.0))
    assert world.pause() == "queue_full"
    world.later(seconds=8)
    assert world.send() == 3


def test_a_probe_does_not_end_somebody_s_pause(world: World) -> None:
    refused(world)
    world.later(seconds=61)
    (probe,) = world.claim()
    pausing.pause(world.store, "modelslab", reason="maintenance", by="operator", until=None, now=world.at)
    world.send_claim(probe, Running("7", 3.0))
    assert world.pause() == "maintenance"
    assert world.send() == 0
    reasons = [row.data["reason"] for row in world.rows(EventRow, EventRow.type == "provider.paused")]
    assert sorted(reasons) == ["by_hand", "provider_auth"]


def test_somebody_s_endless_pause_is_not_taken_over_by_the_worker(world: World) -> None:
    pausing.pause(world.store, "modelslab", reason="maintenance", by="operator", until=None, now=world.at)
    pausing.pause(world.store, "modelslab", reason="no_api_key", by="worker", until=None, now=world.at)
    assert world.pause() == "maintenance"
