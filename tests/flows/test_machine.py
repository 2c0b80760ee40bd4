"""Random histories of a few jobs through the real flows, and what must hold after each step."""

import contextlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import Row

from tests import databases
from tests.flows.world import World, success
from webhook_app.domain.errors import Erased, ErrorCode, JobAlreadyEnded
from webhook_app.domain.job import RESENDABLE, TERMINAL, Evidence, OnUnconfirmed
from webhook_app.domain.outcome import Failed, Later, NotSent, Refused, Running, Unconfirmed, Unread
from webhook_app.flows.cancel import cancel
from webhook_app.flows.erase import erase_job
from webhook_app.flows.forget import forget_due
from webhook_app.flows.receive import Arrival
from webhook_app.flows.seal import seal
from webhook_app.flows.submit import give_back, renew
from webhook_app.provider.port import Submission
from webhook_app.storage.local import LocalStorage
from webhook_app.storage.spool import FileSpool
from webhook_app.store.engine import Store
from webhook_app.store.tables import Attempt, Callback, Erasure, EventRow, Image, Job, Slot

SLOTS = 2
# Ends are rare, so that histories grow long.
REPORTS = st.sampled_from(
    [
        *[Running("7", 3.0), Running(), Failed("Try Again", retryable=True)] * 3,
        success(),
        success("https://strange.example/0.png", provider_job_id="7"),
        success("https://known.example/0.png", "https://known.example/1.png", nsfw=True),
        Failed("no", retryable=False),
        Refused("no such field", ErrorCode.INVALID_INPUT),
    ]
)
ANSWERS = REPORTS | st.sampled_from(
    [
        NotSent("dns"),
        Unconfirmed("reset"),
        Later("full", 1.0),
        Refused("Invalid API Key", ErrorCode.PROVIDER_AUTH),
        Running("8", 1.0),
    ]
)
TOLD = {status: f"job.{status}" for status in ("succeeded", "failed", "canceled", "timed_out")}


class Death(BaseException):
    """The worker is gone."""


def die(_: Submission) -> None:
    raise Death


class Histories(RuleBasedStateMachine):
    def __init__(self, fresh: Callable[[], AbstractContextManager[Store]], on_unconfirmed: OnUnconfirmed) -> None:
        super().__init__()
        self.opened = ExitStack()
        self.world = World(self.opened.enter_context(fresh()))
        self.world.obey(max_in_flight=SLOTS, on_unconfirmed=on_unconfirmed)
        self.jobs: list[str] = []
        self.arrivals: list[Arrival] = []
        self.succeeded: set[str] = set()
        folder = Path(self.opened.enter_context(tempfile.TemporaryDirectory()))
        self.storage, self.spool = LocalStorage(folder / "archive"), FileSpool(folder / "spool")
        self.erased: dict[str, str] = {}

    def teardown(self) -> None:
        self.opened.close()

    def some_job(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(self.jobs), label="job")

    @precondition(lambda self: len(self.jobs) < 3)
    @rule(samples=st.integers(1, 2))
    def submit(self, samples: int) -> None:
        self.jobs.append(self.world.submit(samples=samples))

    @rule(answer=ANSWERS, again=ANSWERS)
    def send(self, answer: Any, again: Any) -> None:
        for claim, said in zip(self.world.claim(), (answer, again), strict=False):
            self.world.send_claim(claim, said)

    @rule(worker_lives=st.booleans())
    def lose_a_claim(self, worker_lives: bool) -> None:
        self.world.claim(owner="dead", limit=1)
        if worker_lives:
            give_back(self.world.store, owner="dead", now=self.world.at)

    @rule()
    def die_while_sending(self) -> None:
        self.world.script.during = die
        for claim in self.world.claim(owner="dead", limit=1):
            try:
                self.world.send_claim(claim, owner="dead")
            except Death:
                continue
        self.world.script.during = None

    @rule(answer=ANSWERS, report=REPORTS, pause_s=st.sampled_from([0, 35, 130]))
    def hear_or_wait_while_sending(self, answer: Any, report: Any, pause_s: int) -> None:
        def meanwhile(submission: Submission) -> None:
            self.world.later(seconds=pause_s)
            self.world.expire()
            self.world.hear(submission.track_id, report, self.world.job(submission.track_id).attempt)

        self.world.script.during = meanwhile
        for claim in self.world.claim(limit=1):
            self.world.send_claim(claim, answer)
        self.world.script.during = None

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), reports=st.lists(REPORTS, min_size=1, max_size=3))
    def hear(self, data: st.DataObject, reports: list[Any]) -> None:
        arrivals = []
        for report in reports:
            track_id = self.some_job(data)
            attempt = data.draw(st.integers(1, max(1, self.world.job(track_id).attempt)), label="attempt")
            arrivals.append(self.world.arrival(track_id, self.world.body(report), attempt))
        self.arrivals += arrivals
        self.world.receive(*arrivals)

    @precondition(lambda self: self.arrivals)
    @rule(data=st.data())
    def hear_again(self, data: st.DataObject) -> None:
        self.world.receive(data.draw(st.sampled_from(self.arrivals), label="arrival"))

    @rule(answer=REPORTS | st.just(Unread("HTML")))
    def poll(self, answer: Any) -> None:
        self.world.script.polls.clear()
        self.world.poll(answer, limit=1)

    @rule(seconds=st.sampled_from([3, 12, 31, 61, 121, 121, 500]))
    def wait(self, seconds: int) -> None:
        self.world.later(seconds=seconds)
        renew(self.world.store, owner="w1", now=self.world.at)
        self.world.expire()

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        with contextlib.suppress(JobAlreadyEnded, Erased):
            cancel(self.world.store, self.some_job(data), by="key:k", now=self.world.at)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def erase(self, data: st.DataObject) -> None:
        track_id = self.some_job(data)
        erase_job(self.world.store, track_id, by="key:k", now=self.world.at)
        self.erased.setdefault(track_id, self.world.job(track_id).status)

    @precondition(lambda self: self.erased)
    @rule()
    def forget(self) -> None:
        places = {"storage": self.storage, "kept": self.spool}
        forget_due(self.world.store, self.world.providers, **places, limit=5, clock=self.world.now)

    @rule()
    def seal(self) -> None:
        seal(self.world.store)

    @invariant()
    def everything_fits(self) -> None:
        events: dict[str, Counter[str]] = {track_id: Counter() for track_id in self.jobs}
        numbers = []
        for row in self.world.rows(EventRow):
            numbers.append(row.seq)
            if row.track_id:
                events[row.track_id][row.type] += 1
        given = sorted(number for number in numbers if number is not None)
        assert given == list(range(1, len(given) + 1))
        attempts: dict[str, list[Row[Any]]] = {track_id: [] for track_id in self.jobs}
        for row in self.world.rows(Attempt, order=Attempt.n):
            attempts[row.track_id].append(row)
        images = Counter(row.track_id for row in self.world.rows(Image))
        submits = Counter(submission.track_id for submission in self.world.script.submitted)
        for job in self.world.rows(Job):
            self._fits(job, attempts[job.track_id], events[job.track_id])
            assert images[job.track_id] == job.samples
            assert sum(row.sends for row in attempts[job.track_id]) == submits[job.track_id]
        self._erased_jobs_are_empty()
        held = self.world.slots_held()
        assert len(self.world.rows(Slot)) <= SLOTS
        assert not held or max(held.values()) == 1

    def _erased_jobs_are_empty(self) -> None:
        taken_out = {row.track_id for row in self.world.rows(Erasure) if row.status != "pending"}
        for track_id in taken_out:
            assert self.world.job(track_id).input == {}
            assert {row.body for row in self.world.rows(Callback, Callback.track_id == track_id)} <= {None}
            assert all(image.sources == [] for image in self.world.images(track_id))

    def _fits(self, job: Row[Any], attempts: list[Row[Any]], events: Counter[str]) -> None:
        assert (job.completed_at is not None) == (job.status in TERMINAL)
        assert [row.n for row in attempts] == list(range(1, job.attempt + 1))
        evidence = [Evidence(row.evidence) for row in attempts]
        assert (job.status == "succeeded") == (Evidence.SUCCESS in evidence and job.status != "canceled")
        assert job.track_id not in self.succeeded or job.status == "succeeded"
        assert self.erased.get(job.track_id, job.status) == job.status
        if job.status == "succeeded":
            self.succeeded.add(job.track_id)
        for status, told in TOLD.items():
            assert events[told] == (status in (job.status, job.previous_status)), (job, events)
        assert events["job.submitted"] == sum(row.sends for row in attempts)
        if job.status not in TERMINAL:
            counted = sum(one not in RESENDABLE for one in evidence)
            assert job.spent == counted
            assert (job.deadline_at is None) == (counted == 0)
        if job.status == "processing":
            assert evidence[-1] is Evidence.RUNNING
        if job.status == "queued":
            assert job.due_at is not None
            given_up = attempts and attempts[-1].unconfirmed_at is not None
            assert not evidence or evidence[-1] is not Evidence.RUNNING or given_up
        else:
            assert job.due_at is None
        if job.unconfirmed_since is not None:
            assert job.status in ("submitting", "processing")
            assert evidence[-1] is (Evidence.NONE if job.status == "submitting" else Evidence.RUNNING)
            assert attempts[-1].provider_job_id is None
            assert job.waiting_for == "confirmation"


def run(fresh: Callable[[], AbstractContextManager[Store]], on_unconfirmed: OnUnconfirmed, examples: int) -> None:
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    how = settings(max_examples=examples, stateful_step_count=40, deadline=None, suppress_health_check=slow)
    run_state_machine_as_test(lambda: Histories(fresh, on_unconfirmed), settings=how)


def on_sqlite(template: Path) -> Callable[[], AbstractContextManager[Store]]:
    @contextmanager
    def fresh() -> Any:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "database.db"
            shutil.copyfile(template, path)
            made = Store(f"sqlite:///{path}")
            yield made
            made.dispose()

    return fresh


def test_histories_keep_the_promises_on_sqlite(sqlite_template: Path) -> None:
    run(on_sqlite(sqlite_template), OnUnconfirmed.REPEAT, examples=45)


def test_histories_on_hold_keep_the_promises(sqlite_template: Path) -> None:
    run(on_sqlite(sqlite_template), OnUnconfirmed.HOLD, examples=15)


def test_histories_keep_the_promises_on_postgresql(postgresql_server: str, postgresql_template: str) -> None:
    @contextmanager
    def fresh() -> Any:
        with databases.postgresql_database(postgresql_server, postgresql_template) as url:
            made = Store(url)
            yield made
            made.dispose()

    run(fresh, OnUnconfirmed.REPEAT, examples=15)
