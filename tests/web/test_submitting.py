"""Submits that share a commit: who shares it, and that every refusal reaches exactly whom it concerns."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime

import pytest
from sqlalchemy import event, func, select

from tests.web.conftest import key_for
from webhook_app.domain.errors import (
    DatabaseUnavailable,
    IdempotencyInProgress,
    IdempotencyMismatch,
    RateLimited,
    Unstorable,
)
from webhook_app.domain.ids import new_track_id
from webhook_app.domain.job import Scope
from webhook_app.flows.accept import Accepted, Idempotency, JobRequest, Submission
from webhook_app.flows.room import QueueRoom
from webhook_app.store import idempotency, reads
from webhook_app.store.tables import ApiKey, Job
from webhook_app.web.grouping import Group, Handed
from webhook_app.web.submitting import Submitter
from webhook_app.wiring import Parts

Asked = Callable[..., Submission]


@pytest.fixture
def asked(parts: Parts) -> Asked:
    """Makes submissions of one client."""
    key_for(parts, "shop", Scope.SUBMIT)
    with parts.store.reading() as connection:
        key_id, client_id = connection.execute(select(ApiKey.key_id, ApiKey.client_id)).one()

    def make(prompt: str = "a lighthouse", key: str | None = None, priority: int = 0) -> Submission:
        request = JobRequest("modelslab", "flux/text2img", {"prompt": prompt}, 900, priority=priority)
        made = None if key is None else Idempotency(key, f"{prompt:0<64}")
        return Submission(request, client_id, key_id, made, lambda track_id: f"/v1/jobs/{track_id}", datetime.now(UTC))

    return make


def submitter(parts: Parts, *, most: int = 1_000, give_up_after_s: float = 60) -> Submitter:
    return Submitter(parts.store, QueueRoom(most), give_up_after_s=give_up_after_s)


def nobody_writes(parts: Parts) -> AbstractContextManager[object]:
    """While it is held, no job can be committed: the first batch hangs, and what comes meanwhile is the next one."""
    holding = parts.store.writing()
    if parts.store.is_sqlite:
        return holding

    class Held:
        def __enter__(self) -> None:
            connection = holding.__enter__()
            connection.exec_driver_sql("LOCK TABLE jobs IN EXCLUSIVE MODE")

        def __exit__(self, *error: object) -> None:
            holding.__exit__(None, None, None)

    return Held()


def together(parts: Parts, desk: Submitter, first: Submission, *others: Submission) -> "list[Future[Accepted]]":
    """Has the first one in hand while the others come, so that they share a batch."""
    pool = ThreadPoolExecutor(len(others) + 1)
    with nobody_writes(parts):
        futures = [pool.submit(desk.accept, first)]
        while not desk._group._in_hand:
            pass
        futures += [pool.submit(desk.accept, each) for each in others]
        while len(desk._group._pending) < len(others):
            pass
    return futures


def jobs(parts: Parts) -> int:
    with parts.store.reading() as connection:
        return connection.scalar(select(func.count()).select_from(Job)) or 0


def test_what_comes_during_a_commit_shares_the_next_one(parts: Parts, asked: Asked) -> None:
    commits: list[object] = []
    event.listen(parts.store.engine, "commit", commits.append)
    made = together(parts, submitter(parts), *(asked(f"picture {n}") for n in range(20)))
    answers = [future.result(60) for future in made]
    assert len({answer.track_id for answer in answers}) == 20
    for n, answer in enumerate(answers):
        with parts.store.looking() as connection:
            row = reads.job(connection, answer.track_id, None)
        assert row is not None
        assert answer.job is not None
        assert (row["input"]["prompt"], row["number"]) == (f"picture {n}", answer.job["number"])
    assert len(commits) == 3  # The lock's own, the first one's, and that of all others.


def test_one_key_makes_one_job_however_many_come_at_once(parts: Parts, asked: Asked) -> None:
    made = together(parts, submitter(parts), *(asked(key="order-42") for _ in range(5)))
    answers = [future.result(60) for future in made]
    assert len({answer.track_id for answer in answers}) == jobs(parts) == 1
    assert [answer.replayed for answer in answers].count(False) == 1


def test_a_refusal_in_a_batch_concerns_nobody_else(parts: Parts, asked: Asked) -> None:
    desk = submitter(parts)
    desk.accept(asked("first", key="order-1"))
    first, other, good = together(parts, desk, asked(), asked("other", key="order-1"), asked("good", key="order-2"))
    assert not first.result(60).replayed
    with pytest.raises(IdempotencyMismatch):
        other.result(60)
    assert not good.result(60).replayed
    assert jobs(parts) == 3


def test_what_the_database_refuses_is_found_in_its_batch(parts: Parts, asked: Asked) -> None:
    first, bad, good = together(parts, submitter(parts), asked(), asked("bad", priority=1000), asked("good"))
    assert first.result(60)
    with pytest.raises(Unstorable):
        bad.result(60)
    assert good.result(60)
    assert jobs(parts) == 2


def test_a_batch_takes_no_more_places_than_there_are(parts: Parts, asked: Asked) -> None:
    desk = submitter(parts, most=3)
    made = together(parts, desk, *(asked(f"picture {n}", key=f"order-{n}") for n in range(6)))
    refused = [future for future in made if isinstance(future.exception(60), RateLimited)]
    assert len(refused) == 3
    assert jobs(parts) == 3
    with parts.store.reading() as connection:
        kept = idempotency.find(connection, asked().client_id, [f"order-{n}" for n in range(6)])
    assert len(kept) == 3


def test_a_key_whose_first_request_still_runs_keeps_nobody_else_out(parts: Parts, asked: Asked) -> None:
    if parts.store.is_sqlite:
        return  # There is one writer at a time: everybody waits for the first request.
    mine = asked(key="order-42")
    assert mine.idempotency_key is not None
    values = {
        "client_id": mine.client_id,
        "key": "order-42",
        "request_sha256": mine.idempotency_key.request_sha256,
        "track_id": new_track_id(),
        "status_code": 202,
        "location": "/",
        "created_at": mine.asked_at,
    }
    with parts.store.writing() as connection:
        assert idempotency.claim(connection, [values])
        desk = submitter(parts)
        with ThreadPoolExecutor(2) as pool:
            waits, good = pool.submit(desk.accept, mine), pool.submit(desk.accept, asked("good"))
            with pytest.raises(IdempotencyInProgress):
                waits.result(60)
            assert good.result(60)


def test_who_cannot_wait_any_longer_is_told_and_leaves_nothing(parts: Parts, asked: Asked) -> None:
    desk = submitter(parts)
    hasty = submitter(parts, give_up_after_s=0.2)
    hasty._group = desk._group
    with ThreadPoolExecutor(1) as pool, nobody_writes(parts):
        first = pool.submit(desk.accept, asked("first"))
        while not desk._group._in_hand:
            pass
        with pytest.raises(DatabaseUnavailable):
            hasty.accept(asked("second"))
    assert desk._group.finish(60)
    assert first.exception() is None
    assert jobs(parts) == 1


class Hasty(Group[int]):
    """Whoever waits goes away at the last moment."""

    gone: list[Handed[int]]

    def _let_others_in(self) -> None:
        if not self.gone:
            self.gone = self.take_all_back()


def test_what_was_taken_back_at_the_last_moment_makes_no_batch() -> None:
    batches: list[list[int]] = []

    def write(batch: list[Handed[int]]) -> None:
        batches.append([handed.item for handed in batch])
        for handed in batch:
            handed.settle(None)

    group = Hasty("hasty", write, lambda left: None, key=lambda item: item, most_weight=10)
    group._changed = threading.Condition()  # Re-entrant: the one who goes away is played by the writer itself.
    group.gone = []
    first, second = Handed(1), Handed(2)
    assert group.hand_over(first)
    while not group.gone:
        pass
    assert group.hand_over(second)
    assert second.settled.wait(30)
    assert batches == [[2]]
