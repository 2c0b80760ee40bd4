"""Reads on the driver's own cursor: the same rows and the same errors as by SQLAlchemy."""

from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import bindparam, func, select, text, update

from tests.store import rows
from webhook_app.domain.errors import DatabaseUnavailable
from webhook_app.domain.ids import new_track_id
from webhook_app.store import engine
from webhook_app.store.bulk import Among
from webhook_app.store.engine import Store
from webhook_app.store.lookup import Find
from webhook_app.store.tables import Attempt, Image, Job


def statement(among: Among) -> Any:
    return (
        select(Job.__table__, Image.__table__, Attempt.sent_at, Attempt.eta_s)
        .select_from(Job)
        .outerjoin(Image, Image.track_id == Job.track_id)
        .outerjoin(Attempt, Attempt.track_id == Job.track_id)
        .where(among(Job.track_id), Job.priority < bindparam("most"))
        .order_by(Image.index)
    )


FIND = Find(statement)
COLUMNS = [column.key for column in Job.__table__.c]
GENERATION_TIME, SEED = COLUMNS.index("generation_time_s"), COLUMNS.index("seed")


def of_job(store: Store, *track_ids: str, most: int = 10) -> list[list[object]]:
    return FIND.alone(store, track_ids, most=most)


@pytest.mark.parametrize("pictures", [1, 3])
def test_rows_are_those_of_sqlalchemy(store: Store, pictures: int) -> None:
    nested = {"prompt": "日本 🙂", "nested": [1, None, {"a": 0.5}], "big": 2**53}
    track_id = rows.make_job(store, seed=2**40 + 1, input=nested, generation_time_s=1.25)
    rows.make_job(store)
    with store.writing() as connection:
        for index in range(1, pictures):
            connection.execute(Image.__table__.insert(), rows.image(track_id, index=index, sources=["https://a/b"]))
        connection.execute(update(Attempt).values(eta_s=2.5))
    plain = statement(lambda key: key == track_id)
    with store.reading() as connection:
        wanted = [list(row) for row in connection.execute(plain, {"most": 10})]
    found = of_job(store, track_id)
    assert found == wanted
    assert of_job(store, track_id, track_id, new_track_id()) == wanted
    assert len(found) == pictures
    types = [[type(value) for value in row] for row in found]
    assert types == [[type(value) for value in row] for row in wanted]
    assert of_job(store, track_id, most=0) == []


def test_it_sees_what_was_committed_a_moment_ago(store: Store) -> None:
    track_id = rows.make_job(store)
    for priority in range(3):
        with store.writing() as connection:
            connection.execute(update(Job).values(priority=priority))
        assert len(of_job(store, track_id, most=priority + 1)) == 1
        assert of_job(store, track_id, most=priority) == []


def test_a_database_that_is_behind_is_unavailable_and_recovers(store: Store) -> None:
    track_id = rows.make_job(store)
    for name, to in (("priority", "later"), ("later", "priority")):
        with store.writing() as connection:
            connection.execute(text(f"ALTER TABLE jobs RENAME COLUMN {name} TO {to}"))
        if to == "later":
            with pytest.raises(DatabaseUnavailable):
                of_job(store, track_id)
    assert len(of_job(store, track_id)) == 1


def test_a_database_that_cannot_be_reached_is_unavailable(free_port: int) -> None:
    store = Store(f"postgresql://u:secret@127.0.0.1:{free_port}/none")
    with pytest.raises(DatabaseUnavailable) as caught:
        of_job(store, "01900000-0000-7000-8000-000000000000")
    assert "secret" not in str(caught.value)
    store.dispose()


def test_a_cut_connection_is_told_once_and_replaced(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    if store.is_sqlite:
        return  # There is nobody who could cut it.
    track_id = rows.make_job(store)
    monkeypatch.setattr(engine, "PING_AFTER_S", 60.0)
    with store.reading() as connection:
        pid = connection.scalar(select(func.pg_backend_pid()))
    other = Store(store.url.render_as_string(hide_password=False))
    with other.reading() as connection:
        connection.execute(select(func.pg_terminate_backend(pid)))
    other.dispose()
    with pytest.raises(DatabaseUnavailable):
        of_job(store, track_id)
    assert len(of_job(store, track_id)) == 1
    assert store.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_a_connection_whose_statement_was_interrupted_is_not_used_again(store: Store) -> None:
    if store.is_sqlite:
        return  # There a statement cannot be left behind.
    track_id = rows.make_job(store)
    with suppress(SystemExit), store.driving() as connection:
        connection.pgconn.send_query(b"SELECT pg_sleep(5)")
        raise SystemExit
    assert [len(of_job(store, track_id)) for _ in range(3)] == [1, 1, 1]
    assert store.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_numbers_keep_their_last_digit(store: Store) -> None:
    taken = [0.1 + 0.2, 1 / 3, 5e-324, 1.7976931348623157e308, 2.0]
    for seconds in taken:
        track_id = rows.make_job(store, generation_time_s=seconds, seed=-(2**63))
        (row,) = of_job(store, track_id)
        assert (row[GENERATION_TIME], row[SEED]) == (seconds, -(2**63))
