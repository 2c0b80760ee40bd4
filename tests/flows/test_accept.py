"""Taking jobs in: one transaction, and an Idempotency-Key that never pays twice."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import update

from tests.flows.world import World
from webhook_app.domain.errors import Erased, IdempotencyInProgress, IdempotencyMismatch, RateLimited
from webhook_app.flows import accept, pausing
from webhook_app.flows.seal import seal
from webhook_app.store import idempotency
from webhook_app.store.tables import EventRow, IdempotencyKey, Image, Job

KEY = accept.Idempotency("order-42", "ab" * 32)


def test_a_job_its_pictures_its_event_and_its_key_are_one_commit(world: World) -> None:
    accepted = world.accept(key=KEY, samples=3)
    job = world.job(accepted.track_id)
    assert (job.status, job.waiting_for, job.attempt, job.spent) == ("queued", "provider_slot", 0, 0)
    assert job.deadline_at is None
    assert 0 <= job.seed < 2**32
    assert job.input["seed"] == job.seed
    assert [row.status for row in world.images(accepted.track_id)] == ["pending"] * 3
    assert world.events(accepted.track_id) == ["job.queued"]
    key = world.rows(IdempotencyKey)[0]
    assert (key.track_id, key.status_code, key.location) == (accepted.track_id, 202, accepted.location)


def test_the_same_key_and_body_answer_with_the_first_job(world: World) -> None:
    first = world.accept(key=KEY)
    again = world.accept(key=KEY)
    assert (again.track_id, again.replayed, again.location) == (first.track_id, True, first.location)
    assert len(world.rows(Job)) == 1


def test_the_first_status_is_what_a_replay_answers(world: World) -> None:
    world.accept(key=KEY)
    accept.remember_status(world.store, client_id=world.client_id, key=KEY.key, status_code=201)
    assert world.accept(key=KEY).status_code == 201


def test_a_key_belongs_to_its_client(world: World) -> None:
    mine = world.accept(key=KEY)
    other = world.accept(key=KEY, client_id=world.client("other"))
    assert mine.track_id != other.track_id
    assert not other.replayed


def test_another_body_with_the_same_key_is_refused(world: World) -> None:
    world.accept(key=KEY)
    with pytest.raises(IdempotencyMismatch):
        world.accept(key=accept.Idempotency(KEY.key, "cd" * 32))


def test_the_key_of_an_erased_job_makes_no_other(world: World) -> None:
    accepted = world.accept(key=KEY)
    with world.store.writing() as connection:
        connection.execute(update(Job).where(Job.track_id == accepted.track_id).values(erased_at=world.at))
    with pytest.raises(Erased):
        world.accept(key=KEY)
    assert len(world.rows(Job)) == 1


def test_a_full_queue_is_refused_and_leaves_nothing(world: World) -> None:
    for _ in range(2):
        world.submit()
    with pytest.raises(RateLimited) as refusal:
        world.accept(key=KEY, max_queued=2)
    assert refusal.value.retry_after_s
    assert not world.rows(IdempotencyKey)
    assert len(world.rows(Image)) == len(world.rows(EventRow)) == 2
    assert not world.accept(key=KEY, max_queued=3).replayed


def refused_for(world: World) -> int | None:
    with pytest.raises(RateLimited) as refusal:
        world.accept(max_queued=1)
    return refusal.value.retry_after_s


def test_a_full_queue_tells_when_there_will_be_room(world: World) -> None:
    world.submit()
    assert refused_for(world) == 60
    for _ in range(10):
        world.submit()
    world.obey(max_in_flight=10)
    world.send()
    seal(world.store)
    assert refused_for(world) == 60
    world.later(minutes=9)
    assert refused_for(world) == 60
    until = world.at + timedelta(seconds=90)
    pausing.pause(world.store, "modelslab", reason="queue_full", by="provider", until=until, now=world.at)
    assert refused_for(world) == 150
    pausing.pause(world.store, "modelslab", reason="maintenance", by="operator", until=None, now=world.at)
    assert refused_for(world) == 3600


def test_a_queue_that_moves_fast_has_room_soon(world: World) -> None:
    world.obey(max_in_flight=300)
    for _ in range(301):
        world.submit()
    for claim in world.claim(limit=300):
        world.send_claim(claim)
    while seal(world.store):
        pass
    assert refused_for(world) == 2


def test_another_client_s_queue_does_not_count(world: World) -> None:
    world.submit()
    world.accept(client_id=world.client("other"), max_queued=1)


def test_twenty_duplicates_at_once_make_one_job(world: World) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: world.accept(key=KEY), range(20)))
    assert len({answer.track_id for answer in answers}) == 1
    assert sum(not answer.replayed for answer in answers) == 1
    assert len(world.rows(Job)) == 1


def test_a_first_request_that_still_runs_is_told(world: World) -> None:
    if world.store.is_sqlite:
        return  # There is one writer at a time: the second request waits for the first.
    values = {
        "client_id": world.client_id,
        "key": KEY.key,
        "request_sha256": KEY.request_sha256,
        "track_id": None,
        "status_code": 202,
        "location": "/",
        "created_at": world.at,
    }
    with world.store.writing() as connection:
        assert idempotency.claim(connection, [values])
        with pytest.raises(IdempotencyInProgress):
            world.accept(key=KEY)
