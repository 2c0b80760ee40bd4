"""Order-freedom through the real flows: for the same attempts, status and error are a function of the set of reports,
whichever witness brings them, in whatever order and number, at once or after a crash had left them raw."""

from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import databases
from tests.flows.test_machine import on_sqlite
from tests.flows.world import World, success
from webhook_app.domain.errors import ErrorCode
from webhook_app.domain.outcome import Failed, Outcome, Refused, Running, Unconfirmed, Witness
from webhook_app.flows.apply import apply
from webhook_app.flows.ledger import Report
from webhook_app.flows.receive import apply_stored, keep_raw
from webhook_app.store.engine import Store

OUTCOMES = [
    Running("7", 3.0),
    Running(),
    success(provider_job_id="7"),
    success("https://known.example/0.png", "https://known.example/1.png"),
    Failed("Try Again", retryable=True),
    Failed("Server error", retryable=True),
    Failed("no", retryable=False),
    Refused("no such field", ErrorCode.INVALID_INPUT),
]
Told = tuple[int, Witness, Outcome]


def jobs_with_attempts(world: World, count: int) -> tuple[str, str]:
    """Two jobs of which so many submits each went out, and nobody knows what became of them."""
    jobs = world.submit(timeout_s=86_400), world.submit(timeout_s=86_400)
    for n in range(count):
        if n:
            world.later(seconds=7201)
            world.expire()
        world.send(Unconfirmed("reset"), Unconfirmed("reset"))
    for track_id in jobs:
        assert [attempt.evidence for attempt in world.attempts(track_id)] == ["none"] * count
    return jobs


def tell(world: World, track_id: str, told: Told, *, crash: bool) -> None:
    attempt, witness, outcome = told
    if witness is not Witness.CALLBACK:
        with world.store.writing() as connection:
            apply(connection, [Report(track_id, attempt, witness, outcome)], policy=world.policy, now=world.at)
        return
    arrival = world.arrival(track_id, world.body(outcome), attempt)
    if crash:
        keep_raw(world.store, [arrival], problem="crash")
    else:
        world.receive(arrival)


def state(world: World, track_id: str) -> Any:
    """What may not depend on the order. Pictures do, where several attempts succeed: the first one's are kept."""
    job = world.job(track_id)
    images = world.images(track_id)
    assert len(images) == job.samples
    ends = [kind for kind in world.events(track_id) if kind in ("job.succeeded", "job.failed")]
    assert ends.count("job.succeeded") == (job.status == "succeeded")
    assert len(ends) == len({job.status, job.previous_status} & {"succeeded", "failed"})
    attempts = [(row.evidence, row.error) for row in world.attempts(track_id)]
    # How many attempts count is asked of unfinished jobs alone.
    return job.status, job.error, None if job.completed_at else job.spent, attempts


def run(fresh: Callable[[], AbstractContextManager[Store]], examples: int) -> None:
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]

    @settings(max_examples=examples, deadline=None, suppress_health_check=slow)
    @given(data=st.data())
    def holds(data: st.DataObject) -> None:
        count = data.draw(st.integers(1, 3), label="attempts")
        one = st.tuples(st.integers(1, count), st.sampled_from(Witness), st.sampled_from(OUTCOMES))
        told = data.draw(st.lists(one, min_size=1, max_size=6), label="told")
        doubles = data.draw(st.lists(st.sampled_from(told), max_size=3), label="doubles")
        shuffled = data.draw(st.permutations(told + doubles), label="another order")
        crashes = data.draw(st.lists(st.booleans(), min_size=len(shuffled), max_size=len(shuffled)), label="crashes")
        with fresh() as store:
            world = World(store)
            first, second = jobs_with_attempts(world, count)
            for each in told:
                tell(world, first, each, crash=False)
            for each, crash in zip(shuffled, crashes, strict=True):
                tell(world, second, each, crash=crash)
            world.later(seconds=10)
            apply_stored(store, world.providers, limit=100, policy=world.policy, now=world.at)
            assert state(world, first) == state(world, second)

    holds()


def test_the_order_of_reports_does_not_matter_on_sqlite(sqlite_template: Path) -> None:
    run(on_sqlite(sqlite_template), examples=40)


def test_the_order_of_reports_does_not_matter_on_postgresql(postgresql_server: str, postgresql_template: str) -> None:
    @contextmanager
    def fresh() -> Any:
        with databases.postgresql_database(postgresql_server, postgresql_template) as url:
            made = Store(url)
            yield made
            made.dispose()

    run(fresh, examples=15)
