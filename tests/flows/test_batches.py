"""Batches: all jobs or none by one transaction, counted as they end, and told of once when all have."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Row

from tests.flows.erasing import Eraser
from tests.flows.keeper import ONE, Keeper, png
from tests.flows.world import World, success
from tests.statements import statements
from webhook_app.domain.errors import (
    Erased,
    IdempotencyMismatch,
    NotFound,
    RateLimited,
)
from webhook_app.domain.ids import new_id
from webhook_app.domain.outcome import Failed
from webhook_app.flows import batches, cancel
from webhook_app.flows.accept import Idempotency, JobRequest
from webhook_app.flows.batches import AcceptedBatch
from webhook_app.flows.room import QueueRoom
from webhook_app.store import reads
from webhook_app.store.engine import Store
from webhook_app.store.tables import Batch, EventRow, IdempotencyKey, Image, Job

KEY = Idempotency("campaign", "ab" * 32)


def asked(prompt: str, **more: Any) -> JobRequest:
    return JobRequest(
        "modelslab", "flux/text2img", {"prompt": prompt, "samples": 1} | more.pop("input", {}), 900, **more
    )


def submit(
    world: World,
    requests: int | Sequence[JobRequest] = 3,
    *,
    key: Idempotency | None = None,
    max_queued: int = 10_000,
    client_id: str | None = None,
) -> AcceptedBatch:
    return batches.accept(
        world.store,
        [asked(f"picture {n}") for n in range(requests)] if isinstance(requests, int) else requests,
        client_id=client_id or world.client_id,
        key_id=world.key_id,
        idempotency_key=key,
        location_for=lambda batch_id: f"/v1/batches/{batch_id}",
        room=QueueRoom(max_queued),
        now=world.at,
    )


def batch(world: World) -> Row[Any]:
    return world.rows(Batch)[0]


def counts(world: World, batch_id: str) -> dict[str, int]:
    """What is not none."""
    with world.store.reading() as connection:
        found = reads.batch(connection, batch_id, world.client_id)
    assert found is not None
    assert sum(found.counts.values()) == found.row.jobs
    return {status: count for status, count in found.counts.items() if count}


def completions(world: World) -> list[Row[Any]]:
    return world.rows(EventRow, EventRow.type == "batch.completed")


def test_a_batch_its_jobs_and_its_key_are_one_commit(world: World) -> None:
    requests = [asked("one", reference="a"), asked("two", input={"samples": 2, "seed": 7}), asked("three", priority=5)]
    made = submit(world, requests, key=KEY)
    rows = world.rows(Job, order=Job.number)
    assert [row.track_id for row in rows] == made.track_ids
    assert [(row.input["prompt"], row.samples, row.priority) for row in rows] == [
        ("one", 1, 0),
        ("two", 2, 0),
        ("three", 1, 5),
    ]
    assert {row.batch_id for row in rows} == {made.batch_id}
    assert (rows[1].seed, rows[0].input["seed"]) == (7, rows[0].seed)
    assert len(world.rows(Image)) == 4
    told = world.rows(EventRow, order=EventRow.position)
    assert [(row.type, row.track_id, row.batch_id, row.data["number"]) for row in told] == [
        ("job.queued", row.track_id, made.batch_id, row.number) for row in rows
    ]
    key = world.rows(IdempotencyKey)[0]
    assert (key.batch_id, key.track_id, key.location) == (made.batch_id, None, f"/v1/batches/{made.batch_id}")
    assert counts(world, made.batch_id) == {"queued": 3}


def test_a_thousand_jobs_are_a_handful_of_statements(world: World) -> None:
    with statements(world.store) as sent:
        made = submit(world, 1000, key=KEY)
    assert len(sent) <= 12, sent
    assert [row.track_id for row in world.rows(Job, order=Job.number)] == made.track_ids
    assert world.rows(Job, order=Job.number)[999].input["prompt"] == "picture 999"
    with statements(world.store) as sent:
        assert batches.cancel(world.store, made.batch_id, by="key:k", now=world.at) == 1000
    if not world.store.is_sqlite:  # There each row is an execution of its own, in the same process.
        assert len(sent) <= 8, sent
    assert [row.data["canceled"] for row in completions(world)] == [1000]


def test_the_same_key_answers_with_the_first_batch(world: World) -> None:
    first = submit(world, key=KEY)
    again = submit(world, key=KEY)
    assert (again.batch_id, again.track_ids, again.location) == (first.batch_id, first.track_ids, first.location)
    assert (first.replayed, again.replayed) == (False, True)
    assert (len(world.rows(Job)), len(world.rows(Batch))) == (3, 1)
    with pytest.raises(IdempotencyMismatch):
        submit(world, key=Idempotency(KEY.key, "cd" * 32))
    with pytest.raises(IdempotencyMismatch):
        world.accept(key=Idempotency(KEY.key, "ef" * 32))
    assert submit(world, key=KEY, client_id=world.client("other")).batch_id != first.batch_id


def test_duplicates_at_once_make_one_batch(world: World) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: submit(world, key=KEY), range(8)))
    assert len({answer.batch_id for answer in answers}) == 1
    assert sum(not answer.replayed for answer in answers) == 1
    assert (len(world.rows(Job)), len(world.rows(Batch))) == (3, 1)


def test_a_batch_without_room_for_all_is_refused_and_leaves_nothing(world: World) -> None:
    world.submit()
    with pytest.raises(RateLimited) as refusal:
        submit(world, 3, key=KEY, max_queued=3)
    assert refusal.value.retry_after_s == 180
    assert [len(world.rows(table)) for table in (Job, Batch, IdempotencyKey, EventRow, Image)] == [1, 0, 0, 1, 1]
    submit(world, 3, key=KEY, max_queued=4)
    with pytest.raises(RateLimited):
        submit(world, 1, max_queued=4)


def test_each_end_is_counted_and_the_last_one_told_once(world: World) -> None:
    world.obey(attempts_allowed=1)
    made = submit(world, 4)
    world.send(success(), Failed("no", retryable=False))
    _, _, third, fourth = made.track_ids
    assert counts(world, made.batch_id) == {"succeeded": 1, "failed": 1, "processing": 2}
    cancel.cancel(world.store, third, by="key:k", now=world.at)
    assert (completions(world), batch(world).completed_at) == ([], None)
    world.later(seconds=901)
    world.expire()
    assert world.job(fourth).status == "timed_out"
    assert batch(world).completed_at == world.at
    (told,) = completions(world)
    assert (told.track_id, told.batch_id, told.client_id) == (None, made.batch_id, world.client_id)
    ends = {"succeeded": 1, "failed": 1, "canceled": 1, "timed_out": 1}
    assert (told.data, told.actor) == ({"jobs": 4} | ends, "worker")
    assert counts(world, made.batch_id) == ends


def test_a_late_success_moves_between_two_counts_and_is_no_second_completion(world: World) -> None:
    world.obey(attempts_allowed=1)
    made = submit(world, 2)
    world.send(Failed("no", retryable=False))
    completed = world.at
    world.later(seconds=901)
    world.expire()
    assert counts(world, made.batch_id) == {"failed": 1, "timed_out": 1}
    for track_id in made.track_ids:
        world.later(seconds=1)
        world.hear(track_id, success())
        world.hear(track_id, success())
    assert counts(world, made.batch_id) == {"succeeded": 2}
    assert len(completions(world)) == 1
    told = world.rows(EventRow, EventRow.type.startswith("callback."))
    assert [row.batch_id for row in told] == [made.batch_id] * 2, "callbacks of its jobs are the batch's too"
    assert batch(world).completed_at > completed
    assert batch(world).completed_at < world.at


def test_a_late_success_before_the_last_end_does_not_complete_it_early(world: World) -> None:
    world.obey(attempts_allowed=1)
    made = submit(world, 2)
    world.send(Failed("no", retryable=False))
    world.hear(made.track_ids[0], success())
    assert (counts(world, made.batch_id), completions(world)) == ({"succeeded": 1, "processing": 1}, [])
    world.hear(made.track_ids[1], success())
    assert len(completions(world)) == 1


def test_one_batch_of_callbacks_ends_jobs_of_several_batches(world: World) -> None:
    made = [submit(world, 2) for _ in range(2)]
    world.send()
    ids = [track_id for each in made for track_id in each.track_ids]
    world.receive(*(world.arrival(track_id, world.body(success())) for track_id in ids))
    assert sorted(row.batch_id for row in completions(world)) == sorted(each.batch_id for each in made)


def test_the_last_two_jobs_end_at_the_same_moment_in_two_processes(world: World) -> None:
    for _ in range(5):
        made = submit(world, 2)
        world.send()
        other = Store(world.store.url.render_as_string(hide_password=False))
        begin = threading.Barrier(2)

        def end(store: Store, track_id: str, begin: threading.Barrier = begin) -> None:
            begin.wait()
            cancel.cancel(store, track_id, by="key:k", now=world.at)

        threads = [
            threading.Thread(target=end, args=pair) for pair in zip([world.store, other], made.track_ids, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        other.dispose()
        assert [row.batch_id for row in completions(world)].count(made.batch_id) == 1
        assert counts(world, made.batch_id) == {"canceled": 2}


def test_a_cancel_ends_what_has_not_ended_and_again_nothing(world: World) -> None:
    made = submit(world, 3)
    world.send(success())
    assert batches.cancel(world.store, made.batch_id, by="key:k", now=world.at) == 2
    assert counts(world, made.batch_id) == {"succeeded": 1, "canceled": 2}
    assert [row.actor for row in completions(world)] == ["key:k"]
    assert batches.cancel(world.store, made.batch_id, by="key:k", now=world.at) == 0
    assert len(completions(world)) == 1
    with pytest.raises(NotFound):
        batches.cancel(world.store, new_id("bat"), by="key:k", now=world.at)


def test_a_cancel_and_callbacks_at_once_agree(world: World) -> None:
    world.obey(max_in_flight=50)
    for _ in range(3):
        made = submit(world, 30)
        while world.send():
            pass
        bodies = [world.arrival(track_id, world.body(success())) for track_id in made.track_ids]
        with ThreadPoolExecutor(5) as pool:
            heard = [pool.submit(world.receive, *bodies[n::4]) for n in range(4)]
            stopped = pool.submit(batches.cancel, world.store, made.batch_id, by="key:k", now=world.at)
            canceled = stopped.result()
            for each in heard:
                each.result()
        found = counts(world, made.batch_id)
        assert (found.get("canceled", 0), sum(found.values())) == (canceled, 30)
        assert set(found) <= {"canceled", "succeeded"}
        assert [row.batch_id for row in completions(world)].count(made.batch_id) == 1


def test_a_wait_is_over_when_all_have_ended_or_nothing_is_left_to_copy(keeper: Keeper) -> None:
    world = keeper.world

    def over(*, archived: bool) -> bool:
        with world.store.reading() as connection:
            return not reads.batches_at_work(connection, [made.batch_id], archived=archived)

    made = submit(world, 2)
    keeper.web.serve(ONE, png())
    world.send()
    world.hear(made.track_ids[0], success())
    assert (over(archived=False), over(archived=True)) == (False, False)
    world.hear(made.track_ids[1], Failed("no", retryable=False))
    assert (over(archived=False), over(archived=True)) == (True, False)
    with world.store.reading() as connection:
        found = reads.batch(connection, made.batch_id, None)
        assert found is not None
        assert found.archiving == 1
        assert reads.batch(connection, made.batch_id, "cli_other") is None
    keeper.tick()
    assert over(archived=True)


def test_batches_come_newest_first_by_pages(world: World) -> None:
    made = []
    for _ in range(3):
        made.append(submit(world, 1).batch_id)
        world.later(seconds=1)
    submit(world, 1, client_id=world.client("other"))
    with world.store.reading() as connection:
        first = reads.batches(connection, world.client_id, after=None, limit=2)
        last = first[-1].row
        rest = reads.batches(connection, world.client_id, after=(last.created_at, last.batch_id), limit=2)
        everybody = reads.batches(connection, None, after=None, limit=10)
    assert [each.row.batch_id for each in [*first, *rest]] == made[::-1]
    assert [each.counts["queued"] for each in everybody] == [1] * 4


def test_erased_jobs_stay_in_the_counts_and_the_key_goes_with_the_last(eraser: Eraser) -> None:
    world = eraser.world
    made = submit(world, 2, key=KEY)
    world.send(success())
    eraser.ask(made.track_ids[1])  # It runs: it is canceled first.
    eraser.finish()
    assert counts(world, made.batch_id) == {"succeeded": 1, "canceled": 1}
    assert len(completions(world)) == 1
    assert submit(world, 2, key=KEY).track_ids == made.track_ids
    eraser.ask(made.track_ids[0])
    with pytest.raises(Erased):
        submit(world, 2, key=KEY)
    eraser.finish()
    (key,) = world.rows(IdempotencyKey)
    assert (KEY.key in key.key, key.request_sha256, key.location) == (False, "", "")
    with pytest.raises(Erased):
        submit(world, 2, key=KEY)
    assert counts(world, made.batch_id) == {"succeeded": 1, "canceled": 1}
