"""Somebody else holds what we need (reliability.md, F8): every answer comes in time, nothing is half-written, and what
could not be applied is applied later."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from tests import databases
from tests.web.doors import KNOWN_HOST, Doors
from webhook_app.domain.job import Scope
from webhook_app.flows import spool
from webhook_app.flows.keys import create_key
from webhook_app.flows.receive import apply_stored
from webhook_app.store.engine import Store
from webhook_app.store.tables import Callback, EventRow, Job
from webhook_app.wiring import policy

# About 5 s are promised. A loaded machine may be slower, but not as slow as the 10 s that SQLite waits for a lock.
IN_TIME_S = 9.0
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def doors(store: Store, tmp_path: Path) -> Iterator[Doors]:
    doors = Doors(store, tmp_path)
    yield doors
    assert doors.app.extensions["batcher"].finish(30)
    doors.app.extensions["drainer"].stop()


def tell(doors: Doors, track_id: str) -> int:
    """The provider reports a success; returns the HTTP status, which came in time."""
    started = time.monotonic()
    body = orjson.dumps({"pictures": [f"{KNOWN_HOST}/{track_id}.png"]})
    answer = doors.app.test_client().post(doors.callback_path(track_id), data=body)
    assert time.monotonic() - started < IN_TIME_S
    return answer.status_code


def tell_all(doors: Doors, track_ids: list[str]) -> list[int]:
    with ThreadPoolExecutor(len(track_ids)) as pool:
        return list(pool.map(lambda track_id: tell(doors, track_id), track_ids))


def catch_up(doors: Doors) -> None:
    """What a worker's ticks do later: the spool, and then what was kept raw."""
    spool.drain(doors.store, doors.parts.spool)
    later = datetime.now(UTC) + timedelta(minutes=5)
    apply_stored(doors.store, doors.parts.providers, limit=100, policy=policy(doors.parts), now=later)


def statuses(doors: Doors) -> dict[str, str]:
    with doors.store.reading() as connection:
        return dict(connection.execute(select(Job.track_id, Job.status)).all())  # type: ignore[arg-type] # two columns


def assert_each_ended_once(doors: Doors, track_ids: list[str]) -> None:
    assert statuses(doors) == dict.fromkeys(track_ids, "succeeded")
    with doors.store.reading() as connection:
        told = select(func.count()).select_from(EventRow).where(EventRow.type == "job.succeeded")
        assert connection.scalar(told) == len(track_ids)
        assert connection.scalar(select(func.count()).where(Callback.applied_at.is_(None))) == 0
        assert connection.scalar(select(func.count(Callback.track_id.distinct()))) == len(track_ids)


@contextmanager
def another_session(store: Store) -> Iterator[Connection]:
    """A transaction of somebody else's, rolled back at the end."""
    with Store(store.url.render_as_string(hide_password=False)).engine.connect() as connection:
        connection.exec_driver_sql("SET lock_timeout = 0")
        yield connection
        connection.rollback()
    connection.engine.dispose()


def hold(connection: Connection, track_id: str) -> None:
    connection.execute(select(Job.number).where(Job.track_id == track_id).with_for_update())


@on_postgresql
def test_a_callback_whose_job_is_locked_is_kept_raw_and_applied_later(doors: Doors) -> None:
    track_ids = [doors.sent_job() for _ in range(4)]
    with another_session(doors.store) as other:
        hold(other, track_ids[0])
        assert tell_all(doors, track_ids) == [200] * 4
        # Its neighbours in the batch may be kept raw with it: the answer's time counts more.
        assert statuses(doors)[track_ids[0]] == "processing"
    catch_up(doors)
    assert_each_ended_once(doors, track_ids)


@on_postgresql
def test_a_deadlock_costs_neither_a_callback_nor_an_answer(doors: Doors) -> None:
    first, second = sorted(doors.sent_job() for _ in range(2))
    with another_session(doors.store) as other:
        hold(other, second)
        with ThreadPoolExecutor(2) as pool:
            told = [pool.submit(tell, doors, track_id) for track_id in (first, second)]
            _wait_for_a_waiter(doors.store)
            # They lock by track_id, we the other way round. PostgreSQL ends one of the two; either is fine.
            crossed = threading.Thread(target=_cross, args=(other, first), daemon=True)
            crossed.start()
            assert [one.result() for one in told] == [200, 200]
        crossed.join(10)
        assert not crossed.is_alive()
    catch_up(doors)
    assert_each_ended_once(doors, [first, second])


def _wait_for_a_waiter(store: Store) -> None:
    until = time.monotonic() + 5
    waiters = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    while time.monotonic() < until:
        with store.reading() as connection:
            if connection.scalar(waiters):
                return
    raise AssertionError("nobody waits for the lock")


def _cross(other: Connection, track_id: str) -> None:
    try:
        hold(other, track_id)
    except OperationalError:
        other.rollback()  # The deadlock's victim, this time.


@on_postgresql
def test_serialization_failures_cost_neither_a_callback_nor_an_answer(doors: Doors) -> None:
    """An operator may have made the server stricter than we ask for."""
    name = doors.store.url.database
    databases.administer(
        doors.store.url.set(database="postgres").render_as_string(hide_password=False),
        f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'serializable'",
    )
    doors.store.dispose()
    second = Doors(Store(doors.store.url.render_as_string(hide_password=False)), Path(doors.parts.settings.data_dir))
    track_ids = [doors.sent_job() for _ in range(8)]
    with ThreadPoolExecutor(2) as pool:
        both = pool.map(lambda door: tell_all(door, track_ids), (doors, second))
        assert list(both) == [[200] * 8] * 2
    assert second.app.extensions["batcher"].finish(30)
    for _ in range(5):
        catch_up(doors)
    assert_each_ended_once(doors, track_ids)
    second.store.dispose()


def key_of(doors: Doors) -> dict[str, str]:
    scopes = [Scope.SUBMIT, Scope.READ]
    _, key = create_key(doors.store, client="tests", name="test", scopes=scopes, now=datetime.now(UTC))
    return {"Authorization": f"Bearer {key}"}


def unavailable_in_time(answer: TestResponse, started: float) -> None:
    assert time.monotonic() - started < IN_TIME_S
    assert answer.status_code == 503
    assert answer.json is not None
    assert answer.json["code"] == "database_unavailable"
    assert int(answer.headers["Retry-After"]) > 0


@on_postgresql
def test_client_routes_do_not_wait_for_ever_behind_a_locked_table(doors: Doors) -> None:
    track_id, headers = doors.sent_job(), key_of(doors)
    asked = {"input": {"prompt": "x"}}
    with another_session(doors.store) as other:
        other.exec_driver_sql("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        calls = [("GET", f"/v1/jobs/{track_id}"), ("GET", "/v1/jobs"), ("POST", "/v1/jobs")]
        for method, path in calls:
            started = time.monotonic()
            json = asked if method == "POST" else None
            unavailable_in_time(doors.http.open(path, method=method, json=json, headers=headers), started)
        assert tell(doors, track_id) == 200
    assert doors.http.post("/v1/jobs", json=asked, headers=headers).status_code == 202
    catch_up(doors)
    with doors.store.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(Job)) == 2
        assert connection.scalar(select(Job.status).where(Job.track_id == track_id)) == "succeeded"


@on_sqlite
def test_behind_an_outside_writer_callbacks_are_spooled_and_reading_goes_on(doors: Doors) -> None:
    track_ids, headers = [doors.sent_job() for _ in range(3)], key_of(doors)
    with Store(str(doors.store.url)).writing():
        assert tell_all(doors, track_ids) == [200] * 3
        answer = doors.http.get(f"/v1/jobs/{track_ids[0]}", headers=headers)
        assert (answer.status_code, answer.json and answer.json["status"]) == (200, "processing")
    assert doors.app.extensions["batcher"].finish(30)
    catch_up(doors)
    assert_each_ended_once(doors, track_ids)


@on_sqlite
def test_behind_an_outside_writer_that_ends_in_time_everything_is_only_late(doors: Doors) -> None:
    track_ids, headers = [doors.sent_job() for _ in range(2)], key_of(doors)
    answers: list[TestResponse] = []

    def submit() -> None:
        asked = {"input": {"prompt": "x"}}
        answers.append(doors.app.test_client().post("/v1/jobs", json=asked, headers=headers))

    with ThreadPoolExecutor(3) as pool:
        with Store(str(doors.store.url)).writing():
            waiting = [pool.submit(tell, doors, track_id) for track_id in track_ids]
            submitting = pool.submit(submit)
            assert not any(one.done() for one in [*waiting, submitting])
        assert [one.result() for one in waiting] == [200, 200]
        submitting.result()
    assert [answer.status_code for answer in answers] == [202]
    ended = statuses(doors)
    assert {ended[track_id] for track_id in track_ids} == {"succeeded"}
