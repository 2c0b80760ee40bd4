"""The engine: transactions that never fail half-way for a lock, errors in our words, values that come back equal."""

import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import StatementError

from tests.store import rows
from webhook_app.domain.errors import DatabaseUnavailable, Unstorable
from webhook_app.store import engine
from webhook_app.store.engine import Store
from webhook_app.store.tables import Job


def test_two_writers_queue_and_neither_fails(store: Store) -> None:
    """Each reads before it writes: with a deferred transaction SQLite would refuse the second at once."""
    track_id = rows.make_job(store)
    begun = threading.Barrier(8)

    def raise_version() -> None:
        begun.wait()
        for _ in range(10):
            with store.writing() as connection:
                version = connection.scalar(select(Job.version).where(Job.track_id == track_id).with_for_update()) or 0
                connection.execute(update(Job).where(Job.track_id == track_id).values(version=version + 1))

    threads = [threading.Thread(target=raise_version) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.reading() as connection:
        assert connection.scalar(select(Job.version)) == 81


def test_an_exception_undoes_the_whole_transaction(store: Store) -> None:
    rows.make_job(store)

    def fail_half_way() -> None:
        with store.writing() as connection:
            connection.execute(update(Job).values(priority=5))
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        fail_half_way()
    with store.reading() as connection:
        assert connection.scalar(select(Job.priority)) == 0


@pytest.mark.parametrize("way", ["looking", "driving"])
def test_a_look_leaves_its_connection_fit_for_transactions(database_url: str, way: str) -> None:
    """It has no transaction on PostgreSQL, and the next user of the same connection needs one."""
    store = Store(database_url, pool_size=1)
    rows.make_job(store)
    with store.looking() if way == "looking" else store.driving() as connection:
        found = connection.execute(
            text("SELECT priority FROM jobs") if way == "looking" else "SELECT priority FROM jobs"
        )
        assert found.fetchone()[0] == 0

    def fail_half_way() -> None:
        with store.writing() as connection:
            connection.execute(update(Job).values(priority=5))
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        fail_half_way()
    with store.looking() as connection:
        assert connection.scalar(select(Job.priority)) == 0
    store.dispose()


def test_sqlite_is_durable_and_checks_references(store: Store) -> None:
    if not store.is_sqlite:
        with store.reading() as connection:
            assert connection.scalar(text("SHOW timezone")) == "UTC"
            assert connection.scalar(text("SHOW lock_timeout")) == "2s"
        return
    with store.reading() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA synchronous")) == 2
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1


def test_a_database_that_cannot_be_reached_is_unavailable(tmp_path: Path, free_port: int) -> None:
    for url in (f"sqlite:///{tmp_path}/no/such/folder.db", f"postgresql://u:secret@127.0.0.1:{free_port}/none"):
        store = Store(url)
        with pytest.raises(DatabaseUnavailable) as caught, store.reading():
            pass
        assert "secret" not in str(caught.value) + store.describe()
        store.dispose()


@pytest.mark.parametrize("missing", ["jobs", "jobs.priority"])
def test_a_database_that_is_behind_is_unavailable(store: Store, missing: str) -> None:
    table, _, column = missing.partition(".")
    with store.writing() as connection:
        connection.execute(text(f"ALTER TABLE {table} RENAME {f'COLUMN {column}' if column else ''} TO later"))
    with pytest.raises(DatabaseUnavailable), store.reading() as connection:
        connection.execute(select(Job.priority))


def test_values_that_no_row_can_hold_are_unstorable(store: Store) -> None:
    with pytest.raises(Unstorable), store.writing() as connection:
        connection.execute(text("INSERT INTO clients (client_id) VALUES (NULL)"))


def test_a_held_lock_ends_as_unavailable_and_the_next_try_succeeds(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.make_job(store)
    for name in ("BUSY_TIMEOUT_MS", "LOCK_TIMEOUT_MS"):
        monkeypatch.setattr(engine, name, 100)
    other = Store(database_url)
    with store.writing() as holder:
        holder.execute(update(Job).values(priority=1))
        with pytest.raises(DatabaseUnavailable), other.writing() as connection:
            connection.execute(update(Job).values(priority=2))
    with store.writing() as connection:
        connection.execute(update(Job).values(priority=3))
    other.dispose()


def test_a_cut_connection_is_replaced_unnoticed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    if store.is_sqlite:
        return  # There is nobody who could cut it.
    monkeypatch.setattr(engine, "PING_AFTER_S", 0.0)
    with store.reading() as connection:
        pid = connection.scalar(select(func.pg_backend_pid()))
    other = Store(store.url.render_as_string(hide_password=False))
    with other.reading() as connection:
        connection.execute(select(func.pg_terminate_backend(pid)))
    other.dispose()
    with store.reading() as connection:
        assert connection.scalar(select(func.pg_backend_pid())) != pid


def test_values_come_back_equal(store: Store) -> None:
    track_id = rows.make_job(store, seed=2**40 + 1, input={"prompt": "日本 \u202e 🙂", "nested": [1, None, {"a": 0.5}]})
    east = datetime(2026, 3, 1, 13, 0, 0, 7, tzinfo=timezone(timedelta(hours=1)))
    with store.writing() as connection:
        connection.execute(update(Job).values(deadline_at=east))
    with store.reading() as connection:
        row = connection.execute(select(Job.__table__).where(Job.track_id == track_id)).one()
    assert row.seed == 2**40 + 1
    assert row.input == {"prompt": "日本 \u202e 🙂", "nested": [1, None, {"a": 0.5}]}
    assert (row.deadline_at, row.deadline_at.tzinfo) == (east, UTC)
    assert row.webhook_events is None


def test_an_instant_without_a_zone_is_refused(store: Store) -> None:
    with pytest.raises(StatementError, match="time zone"), store.writing() as connection:
        connection.execute(update(Job).values(deadline_at=datetime(2026, 3, 1)))  # noqa: DTZ001 - that is the point


def test_the_log_of_sqlite_is_emptied_unless_somebody_reads_it(store: Store) -> None:
    rows.make_job(store)
    with store.reading() as connection:
        connection.execute(text("SELECT count(*) FROM jobs")).scalar()
        rows.make_job(store, client="other")
        assert store.truncate_log() is not store.is_sqlite
    assert store.truncate_log()
    if store.is_sqlite:
        assert Path(f"{store.url.database}-wal").stat().st_size == 0
