"""Callbacks: the verdicts, doubles, batches, and what could not be applied at once."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

from tests.flows.world import World, success
from webhook_app.domain.advance import Verdict
from webhook_app.domain.ids import new_track_id
from webhook_app.domain.outcome import Failed, Picture, Running, Unread
from webhook_app.flows.receive import Arrival, apply_stored, keep_raw
from webhook_app.store.tables import EventRow


def sent(world: World, **more: object) -> str:
    track_id = world.submit(**more)
    world.send()
    return track_id


def test_a_success_is_applied_and_told_in_order(world: World) -> None:
    track_id = sent(world)
    assert world.hear(track_id, success(seed=5, generation_time_s=1.5)) is Verdict.APPLIED
    job = world.job(track_id)
    assert (job.status, job.seed, job.generation_time_s, job.archive_status) == ("succeeded", 5, 1.5, "pending")
    assert world.events(track_id)[-2:] == ["callback.received", "job.succeeded"]
    told = world.rows(EventRow, EventRow.track_id == track_id)
    assert {(row.client_id, row.batch_id) for row in told} == {(world.client_id, None)}
    assert world.images(track_id)[0].source_expires_at == world.at + timedelta(hours=24)


def test_doubles_are_counted_and_told_once(world: World) -> None:
    track_id = sent(world)
    body = world.body(success())
    arrival = world.arrival(track_id, body)
    assert world.receive(arrival, arrival) == [Verdict.APPLIED, Verdict.REPEATED]
    version = world.job(track_id).version
    assert world.receive(arrival) == [Verdict.REPEATED]
    (row,) = world.callbacks()
    assert (row.times_seen, row.verdict, row.body) == (3, "applied", body)
    assert world.events(track_id).count("callback.received") == 1
    assert world.job(track_id).version == version


def test_a_double_of_what_was_kept_raw_is_applied_and_told_once(world: World) -> None:
    """The double is applied before the tick looks: the tick finds nothing left to do, nor to tell."""
    track_id = sent(world)
    arrival = world.arrival(track_id, world.body(success()))
    keep_raw(world.store, [arrival], problem="the database was busy")
    assert world.receive(arrival, arrival) == [Verdict.APPLIED, Verdict.REPEATED]
    assert world.receive(arrival) == [Verdict.REPEATED]
    world.later(minutes=5)
    assert apply_stored(world.store, world.providers, limit=5, policy=world.policy, now=world.at) == 0
    (row,) = world.callbacks()
    assert (row.times_seen, row.verdict, row.problem, row.retry_at) == (4, "applied", None, None)
    assert world.events(track_id)[-2:] == ["callback.received", "job.succeeded"]
    assert world.events(track_id).count("callback.received") == 1


def test_an_unknown_job_is_an_orphan_on_record(world: World) -> None:
    assert world.hear(new_track_id(), success()) is Verdict.ORPHANED
    assert world.hear(sent(world), success(), attempt=7) is Verdict.ORPHANED
    assert world.events().count("callback.orphaned") == 2


def test_what_cannot_be_read_is_kept(world: World) -> None:
    track_id = sent(world)
    for body in (b"", b"\x00\xff\xfe", b"\xed\xa0\x80", b"{", b"null\x00"):
        assert world.receive(world.arrival(track_id, body)) == [Verdict.UNREADABLE]
    assert {row.sha256: row.body for row in world.callbacks()}[hashlib.sha256(b"\x00\xff\xfe").hexdigest()]
    assert world.job(track_id).status == "processing"
    ignored = world.rows(EventRow, EventRow.type == "callback.ignored")
    assert {row.client_id for row in ignored} == {world.client_id}


def test_a_body_that_names_another_job_changes_nothing(world: World) -> None:
    track_id = sent(world)
    stranger = world.arrival(track_id, world.body(success(), names=new_track_id()))
    ours = world.arrival(track_id, world.body(success(), names=track_id.upper()))
    assert world.receive(stranger) == [Verdict.MISMATCHED]
    assert world.job(track_id).status == "processing"
    assert world.receive(ours) == [Verdict.APPLIED]


def test_headers_with_nul_are_kept_without(world: World) -> None:
    track_id = sent(world)
    arrival = world.arrival(track_id, world.body(success()))
    arrival.headers["user-agent"] = "a\x00b\ud800"
    assert world.receive(arrival) == [Verdict.APPLIED]
    assert world.callbacks()[0].headers["user-agent"] == "a\ufffdb\ufffd"


def test_a_failure_after_a_success_changes_nothing(world: World) -> None:
    track_id = sent(world)
    world.hear(track_id, success())
    assert world.hear(track_id, Failed("no", retryable=False)) is Verdict.REPEATED
    assert world.job(track_id).status == "succeeded"


def test_fifty_jobs_are_one_batch(world: World) -> None:
    world.obey(max_in_flight=50)
    jobs = [world.submit() for _ in range(50)]
    for claim in world.claim(limit=50):
        world.send_claim(claim)
    arrivals = [world.arrival(t, world.body(success(f"https://known.example/{n}.png"))) for n, t in enumerate(jobs)]
    assert world.receive(*arrivals) == [Verdict.APPLIED] * 50
    assert {world.job(track_id).status for track_id in jobs} == {"succeeded"}
    assert not world.slots_held()


def test_several_reports_of_one_job_in_a_batch_are_one_change(world: World) -> None:
    track_id = sent(world)
    before = world.job(track_id).version
    bodies = [world.body(o) for o in (Running("7"), Failed("Try Again", retryable=True), success(), Running("8"))]
    verdicts = world.receive(*(world.arrival(track_id, body) for body in bodies))
    assert verdicts[2] is Verdict.APPLIED
    job = world.job(track_id)
    assert (job.status, job.version, job.error) == ("succeeded", before + 1, None)


def ten_successes(world: World) -> list[Arrival]:
    """A callback for each of ten jobs that were sent."""
    world.obey(max_in_flight=10)
    jobs = [world.submit() for _ in range(10)]
    for claim in world.claim(limit=10):
        world.send_claim(claim)
    return [world.arrival(track_id, world.body(success())) for track_id in jobs]


def test_the_same_callbacks_at_once_in_any_order_do_not_deadlock(world: World) -> None:
    arrivals = ten_successes(world)
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda n: world.receive(*(arrivals if n % 2 else reversed(arrivals))), range(16)))
    assert sum(verdicts.count(Verdict.APPLIED) for verdicts in done) == 10
    assert {row.times_seen for row in world.callbacks()} == {16}
    assert world.events().count("job.succeeded") == world.events().count("callback.received") == 10


def test_ticks_and_doubles_of_what_was_kept_raw_do_not_deadlock(world: World) -> None:
    """Both lock the jobs before the callbacks."""
    arrivals = ten_successes(world)
    keep_raw(world.store, arrivals, problem="the disk was full")
    world.later(seconds=6)

    def work(n: int) -> object:
        if n % 2:
            return world.receive(*arrivals)
        return apply_stored(world.store, world.providers, limit=10, policy=world.policy, now=world.at)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(32)))
    assert {(row.times_seen, row.verdict, row.retry_at) for row in world.callbacks()} == {(17, "applied", None)}
    assert world.events().count("job.succeeded") == world.events().count("callback.received") == 10


def test_what_was_kept_raw_is_applied_by_a_tick(world: World) -> None:
    track_id = sent(world)
    keep_raw(world.store, [world.arrival(track_id, world.body(success()))], problem="the disk was full")
    (row,) = world.callbacks()
    assert (row.verdict, row.applied_at, row.problem) == (None, None, "the disk was full")

    def tick() -> int:
        return apply_stored(world.store, world.providers, limit=5, policy=world.policy, now=world.at)

    assert tick() == 0
    world.later(seconds=6)
    assert tick() == 1
    assert tick() == 0
    assert world.job(track_id).status == "succeeded"
    (row,) = world.callbacks()
    assert (row.verdict, row.applied_at, row.retry_at) == ("applied", world.at, None)
    assert world.events(track_id)[-2:] == ["callback.received", "job.succeeded"]


def test_fewer_pictures_than_asked_are_flagged_and_may_be_completed(world: World) -> None:
    track_id = sent(world, samples=3)
    world.hear(track_id, success("https://known.example/0.png"))
    assert world.job(track_id).flags == ["fewer_than_asked"]
    assert [(row.status, row.reason) for row in world.images(track_id)] == [
        ("pending", None),
        ("lost", "not_delivered"),
        ("lost", "not_delivered"),
    ]
    more = success("https://known.example/0.png", "https://known.example/1.png", "https://known.example/2.png")
    assert world.hear(track_id, more) is Verdict.APPLIED
    assert [row.status for row in world.images(track_id)] == ["pending"] * 3
    assert world.job(track_id).flags == []


def test_pictures_that_nobody_asked_for_are_left_out_and_completed_later(world: World) -> None:
    track_id = sent(world)
    beyond = replace(success(), pictures=(Picture(4, ("https://known.example/4.png",)),))
    world.hear(track_id, beyond)
    assert (world.job(track_id).status, world.job(track_id).archive_status) == ("succeeded", "none")
    world.hear(track_id, success())
    assert world.job(track_id).archive_status == "pending"


def test_a_picture_at_an_unknown_host_waits_for_the_provider_s_own_word(world: World) -> None:
    track_id = sent(world)
    world.hear(track_id, success("https://strange.example/0.png"))
    (image,) = world.images(track_id)
    assert (image.status, image.reason) == ("pending", "host_not_allowed")
    assert "image.host_refused" in world.events(track_id)
    world.poll(success("https://strange.example/0.png", provider_job_id="p1"))
    (image,) = world.images(track_id)
    assert (image.source_witness, image.reason, image.fetch_at) == ("poll", None, world.at)


def test_a_callback_cannot_add_a_strange_host_to_what_the_provider_named(world: World) -> None:
    track_id = world.submit()
    world.send(success("https://cdn.example/0.png", provider_job_id="1"))
    world.hear(track_id, success("https://strange.example/0.png"))
    world.hear(track_id, success("https://known.example/copy.png"))
    assert world.images(track_id)[0].sources == ["https://cdn.example/0.png", "https://known.example/copy.png"]


def test_nsfw_is_told_once_for_each_picture(world: World) -> None:
    track_id = sent(world)
    for n in range(2):
        world.receive(world.arrival(track_id, world.body(success(nsfw=True), salt=str(n))))
    assert world.images(track_id)[0].flags == ["nsfw"]
    assert world.events(track_id).count("image.flagged") == 1


def test_a_late_success_wins_over_a_failure(world: World) -> None:
    track_id = sent(world)
    world.hear(track_id, Failed("no", retryable=False))
    world.later(seconds=5)
    world.hear(track_id, success())
    job = world.job(track_id)
    assert (job.status, job.previous_status, job.error, job.completed_at) == ("succeeded", "failed", None, world.at)
    world.poll(Unread("nothing"))
    assert world.job(track_id).status == "succeeded"
