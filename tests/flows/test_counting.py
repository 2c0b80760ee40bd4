"""The counters tell what the log tells, each event once, whatever the batches and the sealers."""

import math
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from sqlalchemy import update

from tests.flows.keeper import ONE, Keeper, png
from tests.flows.world import World, success
from webhook_app.domain.counting import BYTES_ARCHIVED, LATE, MISSED, RECOVERED, counted, undone
from webhook_app.domain.durations import RELATIVE_ERROR
from webhook_app.domain.events import Event, EventType
from webhook_app.domain.outcome import Failed, Running
from webhook_app.flows.replay import replay
from webhook_app.flows.seal import prune, seal
from webhook_app.store import events, reads
from webhook_app.store.counters import DAY, EVER, HOUR, MINUTE
from webhook_app.store.tables import Attempt, CounterRow, EventRow

MINUTES = timedelta(minutes=1)


def told(world: World, client_id: str | None, since: datetime) -> Counter[tuple[str, int]]:
    """What the log says, counted one by one."""
    found: Counter[tuple[str, int]] = Counter()
    for row in world.rows(EventRow, EventRow.created_at >= since):
        if client_id in (None, row.client_id):
            for name, cell, amount in counted(row.type, row.data):
                found[name, cell] += amount
    return found


def read(world: World, client_id: str | None, since: datetime) -> Counter[tuple[str, int]]:
    with world.store.reading() as connection:
        totals = reads.totals(connection, begins_at=since, client_id=client_id)
    by_cell = {(name, cell): count for name, cells in totals.cells.items() for cell, count in cells.items()}
    return Counter({(name, 0): value for name, value in totals.sums.items()} | by_cell)


def sums(world: World, span_s: int) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for row in world.rows(CounterRow, CounterRow.span_s == span_s):
        found[row.client_id, row.name] += row.value
    return found


def log(world: World, kind: EventType, *, client_id: str | None = None, **data: object) -> None:
    with world.store.writing() as connection:
        events.append(connection, [Event(kind, "worker", world.at, None, client_id, data=data)])


def some_days(world: World, draw: random.Random) -> Iterator[tuple[str | None, datetime]]:
    """Events of two clients and of nobody at odd instants of five days."""
    kinds = [EventType.JOB_QUEUED, EventType.JOB_SUCCEEDED, EventType.CALLBACK_RECEIVED, EventType.JOB_TIMED_OUT]
    beginning = world.at
    clients = [world.client_id, world.client("other"), None]
    for _ in range(400):
        world.at = beginning + timedelta(seconds=draw.random() * 5 * DAY)
        client_id = draw.choice(clients)
        kind = draw.choice(kinds)
        measured = {"generation_s": draw.random() * 20} if kind == EventType.JOB_SUCCEEDED else {}
        log(world, kind, client_id=client_id, **measured)
        yield client_id, world.at


@pytest.mark.parametrize("seed", range(3))
def test_every_event_is_counted_once_and_in_its_window(world: World, seed: int) -> None:
    draw = random.Random(seed)
    made = list(some_days(world, draw))
    while seal(world.store, limit=draw.randint(1, 90)):
        pass
    assert sums(world, MINUTE) == sums(world, HOUR) == sums(world, DAY)
    assert (
        sums(world, EVER)[world.client_id, EventType.JOB_QUEUED]
        == told(world, world.client_id, min(at for _, at in made))[EventType.JOB_QUEUED, 0]
    )
    for client_id, at in draw.sample(made, 8):
        since = at.replace(second=0, microsecond=0) - draw.randint(-1, 1) * MINUTES
        assert read(world, client_id, since) == told(world, client_id, since)
        assert read(world, None, since) == told(world, None, since)


def test_sealers_at_once_count_each_event_once(world: World) -> None:
    for _ in range(40):
        world.submit()
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(lambda _: seal(world.store, limit=7) or 0, range(30))) <= 40
    while seal(world.store):
        pass
    assert sums(world, EVER) == {(world.client_id, "job.queued"): 40}


def test_a_job_tells_how_long_it_waited_and_was_made(world: World) -> None:
    world.submit()
    world.later(seconds=20)
    world.send(Running("p1", 5.0))
    world.later(seconds=4)
    (job,) = world.rows(Attempt)
    world.hear(job.track_id, success())
    seal(world.store)
    data = {row.type: row.data for row in world.rows(EventRow)}
    assert data["job.submitted"]["queue_s"] == 20
    assert data["job.succeeded"]["generation_s"] == 4
    with world.store.reading() as connection:
        found = reads.generation_percentile(connection, percent=95, since=world.at - 60 * MINUTES, now=world.at)
        before = reads.generation_percentile(connection, percent=95, since=world.at + MINUTES, now=world.at)
    assert found == pytest.approx(4, rel=RELATIVE_ERROR)
    assert before is None


def test_only_the_first_sending_tells_the_time_in_the_queue(world: World) -> None:
    track_id = world.submit()
    world.send(Failed("Try Again", retryable=True))
    world.later(seconds=60)
    world.send(Running("p1", 5.0))
    submits = [row.data for row in world.rows(EventRow, EventRow.type == EventType.JOB_SUBMITTED)]
    assert [("queue_s" in data, data["attempt"]) for data in submits] == [(True, 1), (False, 2)]
    assert len(world.attempts(track_id)) == 2


def test_the_percentile_is_that_of_all_clients_durations(world: World) -> None:
    draw = random.Random(1)
    spans = sorted(draw.lognormvariate(2, 1) for _ in range(300))
    other = world.client("other")
    for n, span in enumerate(draw.sample(spans, len(spans))):
        world.later(seconds=5)
        log(world, EventType.JOB_SUCCEEDED, client_id=other if n % 3 else world.client_id, generation_s=span)
    seal(world.store)
    for percent in (50, 95, 99):
        with world.store.reading() as connection:
            found = reads.generation_percentile(
                connection, percent=percent, since=world.at - 60 * MINUTES, now=world.at
            )
        exact = spans[math.ceil(len(spans) * percent / 100) - 1]
        assert found == pytest.approx(exact, rel=RELATIVE_ERROR)


def sent(world: World, jobs: int = 1) -> list[str]:
    """Jobs that the provider has, in the order of its ids."""
    for _ in range(jobs):
        world.submit()
    world.send(*(Running(f"p{n}", 1.0) for n in range(jobs)))
    return [row.track_id for row in world.rows(Attempt, order=Attempt.provider_job_id)]


def callbacks(world: World, *, limit: int = 1000) -> tuple[int, int, int]:
    """Missed, late and recovered."""
    while seal(world.store, limit=limit):
        pass
    ever = sums(world, EVER)
    return tuple(ever[world.client_id, name] for name in (MISSED, LATE, RECOVERED))  # type: ignore[return-value]


def test_an_end_that_a_poll_told_counts_as_a_callback_missed_and_recovered(world: World) -> None:
    first, second = sent(world, 2)
    world.hear(first, success())
    world.later(seconds=30)
    world.poll(success())
    assert world.job(second).status == "succeeded"
    assert callbacks(world) == (1, 0, 1)


@pytest.mark.parametrize("limit", [1, 2, 1000])
def test_a_callback_after_the_poll_was_not_lost_and_is_late_once(world: World, limit: int) -> None:
    told, failed = sent(world, 2)
    world.hear(told, Running("p0", 1.0))
    world.later(seconds=30)
    world.poll(success(), Failed("no", retryable=False))
    assert {world.job(told).status, world.job(failed).status} == {"succeeded", "failed"}
    for salt in ("", "again"):
        body = world.body(success(seed=5), salt=salt)
        world.receive(world.arrival(told, body))
    world.hear(failed, Failed("no", retryable=False))
    assert callbacks(world, limit=limit) == (2, 2, 2)


def test_ordinary_callbacks_are_neither_missed_nor_late(world: World) -> None:
    (track_id,) = sent(world)
    world.hear(track_id, Running("p0", 1.0))
    world.hear(track_id, success())
    world.receive(world.arrival(track_id, world.body(success(), salt="again")))
    assert callbacks(world, limit=1) == (0, 0, 0)


def test_a_success_after_a_time_out_takes_the_time_out_back(world: World) -> None:
    (track_id,) = sent(world)
    world.later(seconds=901)
    world.expire()
    assert world.job(track_id).status == "timed_out"
    assert callbacks(world) == (1, 0, 0)
    world.hear(track_id, success())
    assert callbacks(world) == (1, 1, 0)
    ever = sums(world, EVER)
    assert ever[world.client_id, undone("timed_out")] == ever[world.client_id, "job.timed_out"] == 1


def test_a_time_out_that_a_poll_undoes_is_one_missed_callback(world: World) -> None:
    (track_id,) = sent(world)
    world.later(seconds=901)
    world.expire()
    world.later(hours=1)
    world.poll(success())
    assert world.job(track_id).status == "succeeded"
    assert callbacks(world) == (1, 0, 1)


def test_bytes_are_added_up(world: World) -> None:
    for size in (7, 2**40):
        log(world, EventType.JOB_ARCHIVED, client_id=world.client_id, bytes=size, archive_s=1.0)
    seal(world.store)
    assert sums(world, EVER)[world.client_id, BYTES_ARCHIVED] == 7 + 2**40


def test_an_archive_that_settles_twice_counts_its_bytes_once(keeper: Keeper) -> None:
    """A second report of the same attempt brings the picture that was missing."""
    world, second = keeper.world, "https://known.example/1.png"
    keeper.web.serve(ONE, png("red"))
    keeper.web.serve(second, png("blue"))
    track_id = world.submit(samples=2)
    world.send(success(ONE, provider_job_id="1"))
    keeper.tick()
    world.hear(track_id, success(ONE, second, provider_job_id="1"))
    keeper.tick()
    seal(world.store)
    assert world.events(track_id).count("job.archived") == 2
    assert sums(world, EVER)[world.client_id, BYTES_ARCHIVED] == len(png("red")) + len(png("blue"))


def test_a_callback_that_is_replayed_came_once(world: World) -> None:
    track_id = world.submit()
    world.send()
    world.receive(world.arrival(track_id, world.body(success()), attempt=2))
    (row,) = world.callbacks()
    world.script.bodies.clear()
    asked = {"by": "key:k", "dry_run": False, "policy": world.policy, "now": world.at}
    assert replay(world.store, row.callback_id, world.providers, **asked).changed
    seal(world.store)
    found = {name: value for (_, name), value in sums(world, EVER).items() if name.startswith("callback.")}
    assert found == {"callback.orphaned": 1, "callback.replayed": 1}


def test_old_minutes_and_hours_go_and_the_rest_stays(world: World) -> None:
    beginning = world.at
    for hours in range(0, 24 * 40, 7):
        world.at = beginning + timedelta(hours=hours)
        log(world, EventType.JOB_QUEUED, client_id=world.client_id)
    seal(world.store)
    counted_days = sums(world, DAY)
    while prune(world.store, now=world.at):
        pass
    left = {
        span_s: min(r.bucket_at for r in world.rows(CounterRow, CounterRow.span_s == span_s)) for span_s in (60, 3600)
    }
    assert left[60] >= world.at - timedelta(days=2)
    assert left[3600] >= world.at - timedelta(days=32)
    assert sums(world, DAY) == sums(world, EVER) == counted_days
    for days in (1, 5, 36):
        since = reads.window_begins_at(world.at - timedelta(days=days, minutes=7), now=world.at)
        assert read(world, None, since) == told(world, None, since)


def test_a_window_begins_where_its_counters_are_still_kept(world: World) -> None:
    now = datetime.fromisoformat("2026-11-20T12:34:56Z")
    begins = {days: reads.window_begins_at(now - timedelta(days=days), now=now).isoformat()[:16] for days in (1, 3, 40)}
    assert begins == {1: "2026-11-19T12:34", 3: "2026-11-17T12:00", 40: "2026-10-11T00:00"}


def test_a_repeat_counts_as_a_possible_charge_unless_the_provider_did_nothing(world: World) -> None:
    mine = [world.submit() for _ in range(3)]
    theirs = world.submit(client_id=world.client("other"))
    world.send()
    with world.store.writing() as connection:
        connection.execute(update(Attempt).where(Attempt.track_id != mine[0]).values(repeats_unconfirmed=True))
        connection.execute(update(Attempt).where(Attempt.track_id == mine[1]).values(evidence="declined"))
    with world.store.reading() as connection:
        assert reads.repeats(connection) == (3, 2)
        assert reads.repeats(connection, begins_at=world.at, client_id=world.client_id) == (2, 1)
        assert reads.repeats(connection, begins_at=world.at + MINUTES) == (0, 0)
    assert theirs not in mine
