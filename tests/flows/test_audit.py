"""The log and its heads, as they are read for an auditor: tampering behind the trigger's back is found."""

import io
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text, update

from tests.flows.test_anchor import SIGNER, tell
from tests.flows.world import World
from webhook_app.domain.audit import Auditor, Report, Where
from webhook_app.domain.chain import hash_of
from webhook_app.flows import anchor, audit
from webhook_app.flows.audit import exported, identity, read_export, records
from webhook_app.signing.ed25519 import verify
from webhook_app.storage.local import LocalStorage
from webhook_app.store.tables import EventRow, LogHead

TRIGGERS = ("only_sealed", "never_deleted")


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "archive")


@pytest.fixture
def logged(world: World, storage: LocalStorage) -> World:
    """Twelve events, with heads behind 4, 8 and 12, all of them in the archive."""
    for _ in range(3):
        tell(world, 4)
        anchor.sign(world.store, SIGNER, now=world.at)
        world.later(minutes=1)
    anchor.archive(world.store, storage, limit=9, now=world.at)
    return world


def audited(world: World, storage: LocalStorage | None) -> Report:
    log_id, keys = identity(world.store)
    auditor = Auditor(log_id, keys, verify)
    for record in records(world.store, storage, log_id=log_id):
        auditor.look(record)
    return auditor.end()


def test_a_log_that_grows_while_it_is_read_is_sound(logged: World, storage: LocalStorage) -> None:
    log_id, keys = identity(logged.store)
    auditor = Auditor(log_id, keys, verify)
    for n, record in enumerate(records(logged.store, storage, log_id=log_id)):
        auditor.look(record)
        if n == 1:
            tell(logged, 4)
            anchor.sign(logged.store, SIGNER, now=logged.at)
            anchor.archive(logged.store, storage, limit=9, now=logged.at)
    assert auditor.end().problems == []


def tamper(world: World, *statements: Any) -> None:
    """As the owner of the database can."""
    with world.store.writing() as connection:
        for name in TRIGGERS:
            connection.execute(text(f"DROP TRIGGER events_{name}" + ("" if world.store.is_sqlite else " ON events")))
        for statement in statements:
            connection.execute(statement)


def chain_again(world: World, since: int) -> list[Any]:
    """Statements that make all hashes right after an event was changed."""
    statements, previous = [], None
    for row in world.rows(EventRow, EventRow.seq >= since, order=EventRow.seq):
        told = dict(row._mapping) | ({"actor": "somebody"} if row.seq == since else {"previous_hash": previous})
        previous = hash_of(told)
        changed = {name: told[name] for name in ("actor", "previous_hash")} | {"hash": previous}
        statements.append(update(EventRow).where(EventRow.seq == row.seq).values(changed))
    return statements


def test_a_log_is_read_with_its_heads_in_order(
    logged: World, storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "PAGE", 2)
    report = audited(logged, storage)
    assert (report.events, report.last_seq, report.problems) == (12, 12, [])
    assert report.heads == {Where.DATABASE: 3, Where.ARCHIVE: 3}
    assert audited(logged, None).heads == {Where.DATABASE: 3}


def test_an_event_that_was_changed_is_named(logged: World, storage: LocalStorage) -> None:
    tamper(logged, update(EventRow).where(EventRow.seq == 6).values(actor="somebody"))
    assert audited(logged, storage).first_bad_seq == 6


def test_an_event_that_was_removed_is_named(logged: World, storage: LocalStorage) -> None:
    tamper(logged, text("DELETE FROM events WHERE seq = 6"))
    assert audited(logged, storage).first_bad_seq == 6


def test_an_end_that_was_cut_off_is_missed(logged: World, storage: LocalStorage) -> None:
    tamper(logged, text("DELETE FROM events WHERE seq > 9"), text("DELETE FROM log_heads WHERE seq > 9"))
    assert audited(logged, None).problems == []
    assert audited(logged, storage).first_bad_seq == 10


def test_a_chain_that_was_made_again_contradicts_the_archive(logged: World, storage: LocalStorage) -> None:
    tamper(logged, *chain_again(logged, 6))
    assert audited(logged, storage).first_bad_seq == 8
    with logged.store.writing() as connection:
        connection.execute(LogHead.__table__.delete().where(LogHead.seq > 4))
    assert audited(logged, None).problems == []  # Nobody who has the database alone can know.
    assert audited(logged, storage).first_bad_seq == 8


def test_a_copy_that_was_taken_away_or_written_over_is_missed(
    logged: World, storage: LocalStorage, tmp_path: Path
) -> None:
    folder = tmp_path / "archive" / "heads" / identity(logged.store)[0] / f"{0:012d}"
    (folder / f"{8:018d}.json").unlink()
    (folder / f"{4:018d}.json").chmod(0o600)
    (folder / f"{4:018d}.json").write_bytes((folder / f"{12:018d}.json").read_bytes())
    (folder / "notes.json").write_text("{}")
    assert {found.seq for found in audited(logged, storage).problems} == {0, 4, 8}


def test_an_export_is_checked_without_database_or_archive(logged: World, storage: LocalStorage) -> None:
    log_id, keys = identity(logged.store)
    found = records(logged.store, None, log_id=log_id)
    lines = list(exported(log_id, keys, found, now=logged.at))
    assert len(lines) == 1 + 1 + 12 + 3

    def read(file: bytes) -> Report:
        named, known, told = read_export(io.BytesIO(file))
        auditor = Auditor(named, known, verify, is_part=True)
        for record in told:
            auditor.look(record)
        return auditor.end()

    report = read(b"".join(lines))
    assert (report.log_id, report.events, report.heads, report.problems) == (log_id, 12, {Where.EXPORT: 3}, [])
    assert read(b"".join(lines).replace(b'"operator"', b'"somebody"', 1)).first_bad_seq == 1
    assert read(b"".join([*lines[:8], *lines[9:]])).problem_count > 0
    assert read(b"".join(lines[:2])).events == 0


FIRST = b'{"log": {"log_id": "log_a"}}\n'
NO_EXPORTS = [b"", b"{}\n", b"x\n", b'{"event": {}}\n', FIRST + b'{"event": {}}\n', FIRST + FIRST[:9]]


@pytest.mark.parametrize("file", NO_EXPORTS)
def test_what_is_no_export_is_refused(file: bytes) -> None:
    with pytest.raises(ValueError, match="line"):
        list(read_export(io.BytesIO(file))[2])


def test_a_part_of_the_log_is_exported_from_a_seq_on(logged: World) -> None:
    log_id, keys = identity(logged.store)
    lines = list(exported(log_id, keys, records(logged.store, None, log_id=log_id, after=8), now=logged.at))
    assert len(lines) == 1 + 1 + 4 + 1
