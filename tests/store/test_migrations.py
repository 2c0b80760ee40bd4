"""The schema's way up and down, also for two at once and with rows in it."""

import threading

import pytest
from sqlalchemy import text

from webhook_app.domain.errors import InvalidField
from webhook_app.store import migrations
from webhook_app.store.engine import Store


def test_up_down_and_up_again_ends_equal_to_the_tables(empty_database_url: str) -> None:
    migrations.upgrade(empty_database_url)
    assert migrations.check(empty_database_url) == []
    migrations.downgrade(empty_database_url, "base")
    assert migrations.current(empty_database_url) is None
    migrations.upgrade(empty_database_url)
    assert migrations.current(empty_database_url) == migrations.head()
    assert migrations.check(empty_database_url) == []


def test_a_difference_is_found(database_url: str) -> None:
    store = Store(database_url)
    with store.writing() as connection:
        connection.execute(text("ALTER TABLE clients ADD COLUMN colour TEXT"))
    store.dispose()
    assert any("colour" in difference for difference in migrations.check(database_url))


def test_two_who_migrate_at_once_both_succeed(empty_database_url: str) -> None:
    failed: list[BaseException] = []
    begin = threading.Barrier(3)

    def upgrade() -> None:
        begin.wait()
        try:
            migrations.upgrade(empty_database_url)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=upgrade) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert migrations.check(empty_database_url) == []


def test_a_database_ahead_of_the_code_is_left_alone(database_url: str) -> None:
    store = Store(database_url)
    with store.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    store.dispose()
    migrations.upgrade(database_url)
    assert migrations.current(database_url) == "9999"
    assert migrations.check(database_url) == [f"the database is at 9999, ahead of {migrations.head()}"]


def test_an_unknown_revision_is_named(database_url: str) -> None:
    with pytest.raises(InvalidField, match="7777"):
        migrations.upgrade(database_url, "7777")
