"""Erasing: what goes, what stays, who is asked, and what comes too late to undo it."""

import hashlib
from datetime import timedelta

import pytest

from tests.flows.erasing import Eraser
from tests.flows.keeper import ONE, png
from tests.flows.world import KNOWN, success
from webhook_app.domain.advance import Verdict
from webhook_app.domain.errors import Erased, NotFound
from webhook_app.domain.ids import new_track_id
from webhook_app.domain.keys import blob_key, thumbnail_key
from webhook_app.domain.outcome import CallbackReading, Failed
from webhook_app.flows.accept import Idempotency
from webhook_app.flows.erase import retire
from webhook_app.flows.receive import apply_stored, keep_raw
from webhook_app.flows.replay import replay
from webhook_app.flows.seal import seal
from webhook_app.store.tables import Blob, Erasure, EventRow, IdempotencyKey


def test_what_stays_is_a_tombstone(eraser: Eraser) -> None:
    world = eraser.world
    track_id = eraser.archived()
    before = world.job(track_id)
    sha256 = world.images(track_id)[0].sha256
    erasure_id = eraser.ask(track_id)
    assert world.job(track_id).erased_at == world.at
    told = world.rows(EventRow, EventRow.track_id == track_id)[-1]
    assert (told.type, told.actor, told.data) == ("job.erased", "key:k", {"erasure_id": erasure_id})
    assert eraser.erasure(erasure_id).status == "pending"
    eraser.finish()
    job, (image,), (attempt,) = world.job(track_id), world.images(track_id), world.attempts(track_id)
    assert (job.input, job.metadata, job.tags, job.provider_meta, job.reference, job.seed) == (
        {},
        {},
        [],
        {},
        None,
        None,
    )
    kept = ("number", "status", "created_at", "submitted_at", "completed_at", "archived_at", "attempt", "samples")
    assert [getattr(job, name) for name in kept] == [getattr(before, name) for name in kept]
    assert (job.archive_status, image.status, image.sha256, image.sources) == ("erased", "erased", None, [])
    assert (attempt.provider_job_id, job.provider_job_id, world.script.asked_to_delete) == (None, None, ["1"])
    assert eraser.storage.size(blob_key(sha256)) is eraser.storage.size(thumbnail_key(sha256, 256)) is None
    assert world.rows(Blob) == []
    done = eraser.erasure(erasure_id)
    assert (done.status, done.provider_copy, done.matched, done.requested_by) == ("done", "deleted", 1, "key:k")
    seal(world.store)


def test_asked_again_it_is_the_same_erasure(eraser: Eraser) -> None:
    track_id = eraser.archived()
    first = eraser.ask(track_id)
    assert eraser.ask(track_id, by="key:other") == first
    eraser.finish()
    assert eraser.ask(track_id) == first
    assert eraser.world.events(track_id).count("job.erased") == 1
    with pytest.raises(NotFound):
        eraser.ask(new_track_id())


def test_a_job_that_was_never_sent_has_no_copy(eraser: Eraser) -> None:
    erasure_id = eraser.ask(eraser.world.submit())
    eraser.go_on()
    assert eraser.erasure(erasure_id).provider_copy == "none"
    assert (eraser.world.script.asked_to_delete, eraser.world.claim()) == ([], [])


@pytest.mark.parametrize("taken_out", [False, True])
@pytest.mark.parametrize("kind", ["applied", "unreadable", "mismatched", "orphaned"])
def test_a_late_callback_leaves_its_digest_alone(eraser: Eraser, kind: str, taken_out: bool) -> None:
    world = eraser.world
    track_id = eraser.archived()
    eraser.ask(track_id)
    if taken_out:
        eraser.finish()
    names = new_track_id() if kind == "mismatched" else None
    body = world.body(None if kind == "unreadable" else success(f"{KNOWN}late.png"), names=names)
    arrival = world.arrival(track_id, body, attempt=7 if kind == "orphaned" else 1)
    assert world.receive(arrival, arrival) == [Verdict.ERASED] * 2
    (row,) = world.callbacks()
    assert (row.body, row.headers, row.content_type, row.remote_addr, row.problem) == (None, {}, None, None, None)
    assert (row.verdict, row.times_seen, row.received_at, row.retry_at) == ("erased", 2, world.at, None)
    assert world.events(track_id).count("callback.ignored") == 1
    assert world.job(track_id).status == "succeeded"


def test_a_late_callback_that_was_kept_raw_is_emptied_by_the_tick(eraser: Eraser) -> None:
    world = eraser.world
    track_id = eraser.archived()
    eraser.ask(track_id)
    eraser.finish()
    keep_raw(world.store, [world.arrival(track_id, b"no JSON at all")], problem="the disk was full")
    world.later(seconds=6)
    assert apply_stored(world.store, world.providers, limit=5, policy=world.policy, now=world.at) == 1
    (row,) = world.callbacks()
    assert (row.body, row.verdict, row.problem, row.applied_at) == (None, "erased", None, world.at)


@pytest.mark.parametrize("readable", [True, False])
@pytest.mark.parametrize("when", ["before", "marked", "done", "raw"])
def test_a_body_that_names_an_erased_job_goes_wherever_it_came(eraser: Eraser, when: str, readable: bool) -> None:
    """The provider posted it to another job's address, where it is kept as ignored."""
    world = eraser.world
    gone, other = eraser.archived(), world.submit()
    world.send()
    body = world.body(success() if readable else None, names=gone.upper())
    arrival = world.arrival(other, body)
    if when == "before":
        world.receive(arrival)
        assert world.callbacks()[0].names_track_id == gone
    eraser.ask(gone)
    if when in ("done", "raw"):
        eraser.finish()
    if when == "raw":
        keep_raw(world.store, [arrival], problem="the disk was full")
        world.later(seconds=6)
        apply_stored(world.store, world.providers, limit=5, policy=world.policy, now=world.at)
    elif when != "before":
        world.receive(arrival)
    eraser.finish()
    (row,) = world.callbacks()
    assert (row.body, row.headers, row.names_track_id, row.track_id) == (None, {}, None, other)
    assert row.verdict == ("mismatched" if readable else "unreadable")
    assert world.job(other).status == "processing"


def test_a_body_that_is_found_to_name_an_erased_job_goes_with_its_replay(eraser: Eraser) -> None:
    """Yesterday's parser did not see the name, so that it was not there to be found when the job was erased."""
    world = eraser.world
    gone, other = eraser.archived(), world.submit()
    world.send()
    body = b"a shape of tomorrow"
    assert world.receive(world.arrival(other, body)) == [Verdict.UNREADABLE]
    eraser.ask(gone)
    eraser.finish()
    world.script.bodies[body] = CallbackReading(success(), names_track_id=gone)
    (row,) = world.callbacks()
    common = {"by": "operator", "dry_run": False, "policy": world.policy, "now": world.at}
    replay(world.store, row.callback_id, world.providers, **common)
    (row,) = world.callbacks()
    assert (row.body, row.headers, row.names_track_id, row.verdict) == (None, {}, None, "mismatched")


def test_a_body_that_names_no_job_of_ours_is_kept(eraser: Eraser) -> None:
    world = eraser.world
    track_id = world.submit()
    bodies = [world.body(success(), names=name) for name in ("order-42", new_track_id())]
    world.receive(*(world.arrival(track_id, body) for body in bodies))
    eraser.ask(eraser.archived())
    eraser.finish()
    assert {bytes(row.body) for row in world.callbacks()} == set(bodies)


def test_bytes_go_with_the_last_job_that_shows_them(eraser: Eraser) -> None:
    world = eraser.world
    first, second = eraser.archived(samples=2), eraser.archived()
    (sha256,) = {row.sha256 for row in world.images(first) + world.images(second)}
    eraser.ask(first)
    eraser.finish()
    assert [(row.state, row.reference_count) for row in world.rows(Blob)] == [("stored", 1)]
    assert b"".join(eraser.storage.read(blob_key(sha256))) == png()
    eraser.ask(second)
    eraser.finish()
    assert (world.rows(Blob), eraser.storage.size(blob_key(sha256))) == ([], None)
    third = eraser.archived()
    assert [row.status for row in world.images(third)] == ["archived"]
    assert b"".join(eraser.storage.read(blob_key(sha256))) == png()


def test_a_picture_under_way_is_not_kept(eraser: Eraser) -> None:
    world, keeper = eraser.world, eraser.keeper
    track_id = keeper.succeeded()
    keeper.web.serve(ONE, png())

    def meanwhile() -> None:
        eraser.ask(track_id)
        eraser.go_on()

    keeper.web.during = meanwhile
    keeper.tick()
    assert world.images(track_id)[0].status == "erased"
    eraser.go_on()
    assert (world.rows(Blob), eraser.storage.size(blob_key(hashlib.sha256(png()).hexdigest()))) == ([], None)


def test_what_a_dead_archiver_left_is_removed_after_a_while(eraser: Eraser) -> None:
    world = eraser.world
    track_id = eraser.archived()
    (blob,) = world.rows(Blob)
    eraser.ask(track_id)
    eraser.finish()
    with world.store.writing() as connection:
        row = dict(blob._mapping) | {"state": "putting", "reference_count": 0, "created_at": world.at}
        connection.execute(Blob.__table__.insert().values(**row))
    eraser.go_on()
    assert len(world.rows(Blob)) == 1
    world.later(minutes=11)
    eraser.go_on()
    assert world.rows(Blob) == []


def test_what_a_failed_attempt_said_goes_and_its_code_stays(eraser: Eraser) -> None:
    world = eraser.world
    track_id = world.submit()
    world.send(Failed("a horse is not allowed", retryable=False))
    erasure_id = eraser.ask(track_id)
    eraser.finish()
    error = {"code": "generation_failed", "message": "", "retryable": False, "provider_message": None}
    assert world.job(track_id).error == world.attempts(track_id)[0].error == error
    assert (world.job(track_id).status, eraser.erasure(erasure_id).provider_copy) == ("failed", "none")


def test_an_erased_job_s_idempotency_key_makes_no_second_job(eraser: Eraser) -> None:
    world = eraser.world
    key = Idempotency("order-42", "ab" * 32)
    track_id = world.submit(key=key)
    eraser.ask(track_id)
    for _ in range(2):
        with pytest.raises(Erased):
            world.submit(key=key)
        eraser.finish()
    with pytest.raises(Erased):
        world.submit(key=Idempotency("order-42", "cd" * 32))
    (row,) = world.rows(IdempotencyKey)
    assert "order-42" not in str(row)
    with pytest.raises(Erased):
        world.submit(key=Idempotency(row.key, "ab" * 32))
    assert world.submit(key=key, client_id=world.client("other"))


def test_a_filter_takes_what_there_is_and_nothing_else(eraser: Eraser) -> None:
    world = eraser.world
    other = world.client("other")
    mine = [world.submit(reference="r", tags=("spring", n), metadata={"n": n}) for n in ("a", "b")]
    more = [world.submit(reference="s"), world.submit(reference="r", client_id=other)]
    world.later(seconds=1)
    assert eraser.ask_many(reference="r", dry_run=True).matched == 2
    assert eraser.ask_many(reference="r", client_id=None, dry_run=True).matched == 3
    assert eraser.ask_many(tag="spring", metadata={"n": "a"}, dry_run=True).matched == 1
    assert eraser.ask_many(created_before=world.at - timedelta(seconds=1), dry_run=True).matched == 0
    assert world.rows(Erasure) == []
    asked = eraser.ask_many(reference="r")
    more.append(world.submit(reference="r"))
    eraser.finish()
    assert asked.erasure_id is not None
    parent = eraser.erasure(asked.erasure_id)
    assert (parent.status, parent.matched, parent.provider_copy, parent.filter) == ("done", 2, "none", None)
    assert {row.track_id for row in world.rows(Erasure, Erasure.parent_id == parent.erasure_id)} == set(mine)
    assert [world.job(track_id).erased_at for track_id in more] == [None] * 3


def test_a_filter_takes_more_than_a_batch(eraser: Eraser) -> None:
    world = eraser.world
    for _ in range(501):
        world.submit()
    world.later(seconds=1)
    asked = eraser.ask_many()
    eraser.go_on()
    assert asked.matched == world.events().count("job.erased") == 501
    assert world.claim() == []


def test_age_counts_from_the_end(eraser: Eraser) -> None:
    world = eraser.world
    old = eraser.archived()
    running = world.submit()
    world.later(days=30)
    young = eraser.archived(colour="blue")
    world.later(seconds=1)
    before = world.at - timedelta(days=30)
    assert [retire(world.store, before=before, now=world.at) for _ in range(2)] == [1, 0]
    eraser.finish()
    assert [world.job(track_id).erased_at is None for track_id in (old, running, young)] == [False, True, True]
    (erasure,) = world.rows(Erasure)
    assert (erasure.requested_by, erasure.provider_copy) == ("retention", "expired")
