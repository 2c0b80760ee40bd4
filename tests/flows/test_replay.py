"""Callbacks on record, read again: what a dry run tells, what a replay does, and that neither does more."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Row, delete, insert, update

from tests.flows.world import World, success
from webhook_app.domain.advance import Verdict
from webhook_app.domain.errors import Erased, NotFound
from webhook_app.domain.ids import new_id, new_track_id
from webhook_app.domain.outcome import CallbackReading, Failed, Later, Outcome, Running
from webhook_app.flows.receive import keep_raw
from webhook_app.flows.replay import Change, Picture, Replay, adopt, replay
from webhook_app.store.tables import Attempt, Base, Callback, EventRow, Image, Job, ProviderState

TABLES: tuple[type[Base], ...] = (Job, Attempt, Image, Callback, EventRow, ProviderState)


def sent(world: World) -> str:
    track_id = world.submit()
    world.send()
    return track_id


def unread(world: World, track_id: str) -> tuple[str, bytes]:
    """A callback that yesterday's parser could not read: its id and its body."""
    body = b"a shape of tomorrow"
    assert world.receive(world.arrival(track_id, body)) == [Verdict.UNREADABLE]
    return world.callbacks()[-1].callback_id, body


def learn(world: World, body: bytes, outcome: Outcome) -> None:
    world.script.bodies[body] = CallbackReading(outcome)


def again(world: World, callback_id: str, *, dry_run: bool = False) -> Replay:
    return replay(
        world.store,
        callback_id,
        world.providers,
        by="operator",
        dry_run=dry_run,
        policy=world.policy,
        now=world.at,
    )


def everything(world: World) -> list[list[Row[Any]]]:
    return [sorted(world.rows(table), key=str) for table in TABLES]


def test_what_can_be_read_by_now_is_applied(world: World) -> None:
    track_id = sent(world)
    callback_id, body = unread(world, track_id)
    learn(world, body, success())
    world.later(hours=1)
    told = again(world, callback_id)
    (image,) = world.images(track_id)
    assert told == Replay(
        callback_id=callback_id,
        track_id=track_id,
        attempt=1,
        dry_run=False,
        changed=True,
        verdict=Change("unreadable", "applied"),
        problem=Change("no JSON", None),
        job={
            "status": Change("processing", "succeeded"),
            "archive_status": Change("none", "pending"),
            "error": Change(None, None),
        },
        images=[Picture(image.image_id, 0)],
        events={"callback.received": 1, "job.succeeded": 1},
    )
    (row,) = world.callbacks()
    assert (row.verdict, row.problem, row.applied_at) == ("applied", None, world.at)
    assert (world.job(track_id).status, image.sources) == ("succeeded", ["https://known.example/0.png"])
    heard, ended = world.rows(EventRow, EventRow.track_id == track_id, order=EventRow.position)[-2:]
    assert (heard.type, heard.actor, heard.client_id) == ("callback.received", "operator", world.client_id)
    assert heard.data == {"attempt": 1, "verdict": "applied", "sha256": row.sha256, "replayed": callback_id}
    assert (ended.type, ended.actor) == ("job.succeeded", "provider")


def test_a_dry_run_tells_the_same_and_leaves_no_trace(world: World) -> None:
    track_id = sent(world)
    callback_id, body = unread(world, track_id)
    learn(world, body, success())
    before = everything(world)
    tried = again(world, callback_id, dry_run=True)
    assert everything(world) == before
    done = again(world, callback_id)
    assert (tried.dry_run, done.dry_run) == (True, False)
    assert (tried.changed, tried.verdict, tried.job) == (done.changed, done.verdict, done.job)
    assert (tried.images, tried.events) == (done.images, done.events)


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_replay_again_changes_nothing(world: World, dry_run: bool) -> None:
    track_id = sent(world)
    callback_id, body = unread(world, track_id)
    learn(world, body, success())
    again(world, callback_id)
    world.later(hours=1)
    before = everything(world)
    told = again(world, callback_id, dry_run=dry_run)
    assert (told.changed, told.events, told.images) == (False, {}, [])
    assert told.verdict == Change("applied", "applied")
    assert everything(world) == before


def test_replays_and_doubles_at_once_change_the_job_once(world: World) -> None:
    track_id = sent(world)
    callback_id, body = unread(world, track_id)
    learn(world, body, success())
    double = world.arrival(track_id, body)
    with ThreadPoolExecutor(8) as pool:
        doubles = [pool.submit(world.receive, double) for _ in range(4)]
        tried = list(pool.map(lambda n: again(world, callback_id, dry_run=n % 2 == 0), range(12)))
        assert {verdict for done in doubles for verdict in done.result()} <= {Verdict.APPLIED, Verdict.REPEATED}
    assert sum(told.changed and not told.dry_run for told in tried) == 1
    assert world.events(track_id).count("job.succeeded") == world.events(track_id).count("callback.received") == 1
    (row,) = world.callbacks()
    assert row.times_seen == 5


@pytest.mark.parametrize(
    "outcome", [Running("7"), success(), Failed("no", retryable=False), Failed("Try Again", retryable=True)]
)
def test_a_callback_that_took_effect_when_it_came_has_no_other_one_now(world: World, outcome: Outcome) -> None:
    track_id = sent(world)
    world.hear(track_id, outcome)
    before = everything(world)
    assert not again(world, world.callbacks()[0].callback_id).changed
    assert everything(world) == before


def adopted(world: World) -> int:
    return adopt(world.store, world.providers, limit=10, policy=world.policy, now=world.at)


def test_an_orphan_is_applied_when_its_job_is_there(world: World) -> None:
    track_id = sent(world)
    attempt = dict(world.attempts(track_id)[0]._mapping)
    with world.store.writing() as connection:
        connection.execute(delete(Attempt).where(Attempt.track_id == track_id))
    assert world.hear(track_id, success()) is Verdict.ORPHANED
    callback_id = world.callbacks()[0].callback_id
    assert not again(world, callback_id).changed
    assert adopted(world) == 0
    with world.store.writing() as connection:
        connection.execute(insert(Attempt).values(attempt))
    assert again(world, callback_id, dry_run=True).verdict == Change("orphaned", "applied")
    assert (adopted(world), adopted(world)) == (1, 0)
    assert (world.job(track_id).status, world.callbacks()[0].verdict) == ("succeeded", "applied")


def test_an_orphan_without_its_job_stays_one(world: World) -> None:
    assert world.hear(new_track_id(), success()) is Verdict.ORPHANED
    before = everything(world)
    told = again(world, world.callbacks()[0].callback_id)
    assert (told.changed, told.job, told.verdict) == (False, None, Change("orphaned", "orphaned"))
    assert everything(world) == before


def test_what_was_kept_raw_is_applied_and_not_taken_up_again(world: World) -> None:
    track_id = sent(world)
    keep_raw(world.store, [world.arrival(track_id, world.body(success()))], problem="the disk was full")
    callback_id = world.callbacks()[0].callback_id
    assert again(world, callback_id).verdict == Change(None, "applied")
    (row,) = world.callbacks()
    assert (row.verdict, row.problem, row.applied_at, row.retry_at) == ("applied", None, world.at, None)


def test_what_cannot_be_read_any_more_is_said_and_undoes_nothing(world: World) -> None:
    track_id = sent(world)
    world.hear(track_id, success())
    world.script.bodies.clear()
    told = again(world, world.callbacks()[0].callback_id)
    assert (told.verdict, told.problem) == (Change("applied", "unreadable"), Change(None, "no JSON"))
    assert told.events == {"callback.ignored": 1}
    assert world.job(track_id).status == "succeeded"


def test_a_late_success_wins_by_a_replay_too(world: World) -> None:
    track_id = sent(world)
    callback_id, body = unread(world, track_id)
    world.hear(track_id, Failed("no", retryable=False))
    learn(world, body, success())
    told = again(world, callback_id)
    assert told.job is not None
    assert told.job["status"] == Change("failed", "succeeded")
    assert told.job["error"].before["code"] == "generation_failed"
    assert told.job["error"].after is None


def test_an_old_refusal_does_not_pause_the_provider_now(world: World) -> None:
    track_id = sent(world)
    callback_id, body = unread(world, track_id)
    learn(world, body, Later("Rate limit exceeded", 60))
    assert again(world, callback_id).changed
    assert world.pause() is None


def test_a_canceled_job_takes_nothing(world: World) -> None:
    track_id = sent(world)
    callback_id, body = unread(world, track_id)
    with world.store.writing() as connection:
        canceled = update(Job).where(Job.track_id == track_id)
        connection.execute(canceled.values(status="canceled", completed_at=world.at + timedelta(seconds=1)))
    learn(world, body, success())
    told = again(world, callback_id)
    assert (told.verdict.after, told.images) == ("canceled", [])
    assert world.job(track_id).status == "canceled"
    assert not again(world, callback_id).changed


def test_an_erased_or_unknown_callback_is_refused(world: World) -> None:
    track_id = sent(world)
    world.hear(track_id, success())
    callback_id = world.callbacks()[0].callback_id
    with world.store.writing() as connection:
        connection.execute(update(Callback).values(body=None))
    for dry_run in (True, False):
        with pytest.raises(Erased):
            again(world, callback_id, dry_run=dry_run)
        with pytest.raises(NotFound):
            again(world, new_id("cb"), dry_run=dry_run)
