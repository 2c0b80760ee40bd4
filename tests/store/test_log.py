"""The log as the database keeps it: sealed once, chained, and changed by nobody else."""

from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from tests.store import rows
from webhook_app.domain.chain import GENESIS, hash_of
from webhook_app.domain.errors import Unstorable
from webhook_app.domain.events import Event, EventType
from webhook_app.flows.seal import chain, seal
from webhook_app.store import events, log, migrations
from webhook_app.store.engine import Store
from webhook_app.store.tables import EventRow, LogRow

HASH = "ab" * 32
NEW = {"type": "job.queued", "actor": "worker", "data": {}, "created_at": rows.NOW}


def tell(store: Store, count: int = 1) -> None:
    told = [
        Event(EventType.PROVIDER_PAUSED, "operator", rows.NOW, data={"n": n, "left_s": n / 8}) for n in range(count)
    ]
    with store.writing() as connection:
        events.append(connection, told)


def the_log(store: Store) -> list[dict[str, Any]]:
    with store.reading() as connection:
        return [dict(row._mapping) for row in connection.execute(select(EventRow.__table__).order_by(EventRow.seq))]


def is_refused(store: Store, statement: Any) -> bool:
    """Whether the database refuses it with the trigger's words, and nothing has changed."""
    before = the_log(store)
    with pytest.raises((Unstorable, DBAPIError)) as caught, store.writing() as connection:
        connection.execute(statement)
    return "append-only" in str(caught.value.__cause__ or caught.value) and the_log(store) == before


def test_each_event_has_the_hash_of_the_one_before(store: Store) -> None:
    tell(store, 7)
    while seal(store, limit=3):
        pass
    previous = GENESIS
    for number, row in enumerate(the_log(store), start=1):
        assert (row["seq"], row["previous_hash"]) == (number, previous)
        previous = row["hash"]
        assert previous == hash_of(row)


@pytest.mark.parametrize(
    "change",
    [
        {"seq": 9},
        {"seq": None},
        {"hash": HASH},
        {"hash": None},
        {"previous_hash": HASH},
        {"type": "job.failed"},
        {"data": {"n": 1}},
        {"actor": "somebody"},
        {"client_id": "cli_other"},
        {"batch_id": "bat_other"},
        {"event_id": "evt_other"},
        {"position": 99},
        {"created_at": rows.NOW.replace(year=2025)},
        {"type": EventRow.type},
        {"seq": None, "hash": None, "previous_hash": None},
    ],
)
def test_a_sealed_event_is_changed_by_nobody(store: Store, change: dict[str, Any]) -> None:
    tell(store)
    seal(store)
    assert is_refused(store, update(EventRow).values(change))


@pytest.mark.parametrize(
    "change",
    [
        {"data": {"n": 1}},
        {"hash": HASH},
        {"hash": HASH, "previous_hash": HASH},
        {"seq": 1, "hash": HASH},
        {"seq": 1, "hash": HASH, "previous_hash": HASH, "data": {"n": 1}},
        {"seq": 1, "hash": HASH, "previous_hash": HASH, "created_at": rows.NOW.replace(year=2025)},
    ],
)
def test_an_unsealed_event_is_changed_by_its_sealing_alone(store: Store, change: dict[str, Any]) -> None:
    tell(store)
    assert is_refused(store, update(EventRow).values(change))


def test_nothing_is_deleted_and_nothing_is_born_sealed(store: Store) -> None:
    tell(store, 2)
    seal(store, limit=1)
    assert is_refused(store, text("DELETE FROM events WHERE seq IS NULL"))
    assert is_refused(store, text("DELETE FROM events"))
    assert is_refused(store, insert(EventRow).values(NEW | {"event_id": "evt_1", "seq": 2}))
    assert is_refused(store, insert(EventRow).values(NEW | {"event_id": "evt_1", "hash": HASH}))
    if not store.is_sqlite:
        assert is_refused(store, text("TRUNCATE events"))


def test_replacing_is_deleting(store: Store) -> None:
    if not store.is_sqlite:
        return  # It has no OR REPLACE; ON CONFLICT DO UPDATE is an update.
    tell(store, 2)
    seal(store, limit=1)
    columns = "position, event_id, type, actor, data, created_at"
    event_id = the_log(store)[-1]["event_id"]
    values = "'job.failed', 'x', '{}', '2026-03-01 12:00:00.000000'"
    assert is_refused(store, text(f"INSERT OR REPLACE INTO events ({columns}) VALUES (1, 'evt_1', {values})"))
    assert is_refused(store, text(f"REPLACE INTO events ({columns}) VALUES (9, '{event_id}', {values})"))
    again = f"UPDATE OR REPLACE events SET seq = 1, hash = '{HASH}', previous_hash = '{HASH}' WHERE seq IS NULL"
    assert is_refused(store, text(again))


def number_without_chaining(connection: Connection, seqs: dict[int, int]) -> None:
    """As the release before this one did."""
    for position, seq in seqs.items():
        connection.execute(update(EventRow).where(EventRow.position == position).values(seq=seq))


def test_what_an_older_release_numbered_is_chained_in_its_order(store: Store) -> None:
    tell(store, 6)
    with store.writing() as connection:
        number_without_chaining(connection, {1: 1, 2: 3, 3: 2, 4: 4})
    assert [seal(store, limit=3), seal(store, limit=3)] == [3, 1]
    assert chain(store) == 0
    assert seal(store) == 2
    log_of_all = the_log(store)
    assert [row["position"] for row in log_of_all] == [1, 3, 2, 4, 5, 6]
    assert [row["hash"] for row in log_of_all] == [hash_of(row) for row in log_of_all]
    assert [row["previous_hash"] for row in log_of_all] == [GENESIS, *(row["hash"] for row in log_of_all[:-1])]


def test_an_older_sealer_beside_a_newer_one_leaves_no_hole_in_the_chain(store: Store) -> None:
    tell(store, 2)
    seal(store)
    tell(store, 3)
    with store.writing() as connection:
        number_without_chaining(connection, {3: 3, 4: 4})
    assert [seal(store), seal(store), seal(store)] == [2, 1, 0]
    log_of_all = the_log(store)
    assert [row["hash"] for row in log_of_all] == [hash_of(row) for row in log_of_all]
    assert [row["previous_hash"] for row in log_of_all[1:]] == [row["hash"] for row in log_of_all[:-1]]


def test_a_log_with_events_in_it_is_upgraded(empty_database_url: str) -> None:
    migrations.upgrade(empty_database_url, "0005")
    store = Store(empty_database_url)
    try:
        tell(store, 5)
        with store.writing() as connection:
            number_without_chaining(connection, {1: 1, 2: 2, 3: 3})
        migrations.upgrade(empty_database_url)
        assert [chain(store), seal(store)] == [3, 2]
        assert [row["hash"] for row in the_log(store)] == [hash_of(row) for row in the_log(store)]
        migrations.downgrade(empty_database_url, "0005")
        assert len(the_log(store)) == 5
        migrations.upgrade(empty_database_url)
        assert is_refused(store, update(EventRow).values(actor="x"))
    finally:
        store.dispose()


def test_every_installation_has_a_log_of_its_own(store: Store) -> None:
    with store.reading() as connection:
        assert [row.log_id[:4] for row in connection.execute(select(LogRow.__table__))] == ["log_"]
    refused = insert(LogRow).values(number=2, log_id="log_other", created_at=rows.NOW)
    with pytest.raises(Unstorable), store.writing() as connection:
        connection.execute(refused)


def test_a_sealer_that_finds_its_events_numbered_writes_nothing(store: Store) -> None:
    tell(store, 2)
    with store.writing() as connection:
        found = log.sealed(log.unsealed(connection, limit=10, thoroughly=True))
    seal(store, limit=1)
    with pytest.raises(Unstorable), store.writing() as connection:
        log.write(connection, found)
