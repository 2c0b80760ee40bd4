"""Signed heads: when they are due, once, and copied outside the database whatever happens in between."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.flows.world import World
from webhook_app.domain.errors import StorageError
from webhook_app.domain.events import Event, EventType
from webhook_app.domain.heads import decoded, head_key, read_head
from webhook_app.flows import anchor
from webhook_app.flows.audit import identity
from webhook_app.flows.seal import seal
from webhook_app.signing.ed25519 import Ed25519Signer, verify
from webhook_app.storage.local import LocalStorage
from webhook_app.store import events, heads
from webhook_app.store.tables import EventRow, LogHead

SIGNER = Ed25519Signer(b"\7" * 32)


def tell(world: World, count: int = 1) -> None:
    with world.store.writing() as connection:
        events.append(connection, [Event(EventType.PROVIDER_PAUSED, "operator", world.at)] * count)
    while seal(world.store):
        pass


def sign(world: World) -> int:
    return anchor.sign(world.store, SIGNER, now=world.at)


def seqs(world: World) -> list[int]:
    return [row.seq for row in world.rows(LogHead, order=LogHead.seq)]


def test_a_head_is_signed_each_minute_in_which_anything_happened(world: World) -> None:
    assert sign(world) == 0  # There is nothing to sign.
    tell(world)
    assert [sign(world), sign(world)] == [1, 0]
    tell(world, 3)
    assert sign(world) == 0
    world.later(seconds=60)
    assert [sign(world), sign(world)] == [1, 0]
    world.later(hours=1)
    assert sign(world) == 0
    assert seqs(world) == [1, 4]


def test_a_head_is_signed_for_each_thousand_events(world: World) -> None:
    tell(world)
    sign(world)
    tell(world, 999)
    assert sign(world) == 0
    tell(world)
    assert sign(world) == 1
    assert seqs(world) == [1, 1001]


def test_several_at_once_sign_one(world: World) -> None:
    tell(world, 3)
    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(lambda _: sign(world), range(6))) == 1
    assert seqs(world) == [3]


def test_a_head_says_where_the_log_ends_and_anybody_can_check_it(world: World, tmp_path: Path) -> None:
    tell(world, 2)
    sign(world)
    storage = LocalStorage(tmp_path / "archive")
    assert [anchor.archive(world.store, storage, limit=9, now=world.at) for _ in range(2)] == [1, 0]
    log_id, keys = identity(world.store)
    head = read_head(b"".join(storage.read(head_key(log_id, 2))))
    (last,) = world.rows(EventRow, EventRow.seq == 2)
    said = head.statement
    assert (said.log_id, said.seq, said.hash, said.signed_at) == (log_id, 2, last.hash, world.at)
    assert keys == [SIGNER.public_key]
    assert verify(keys[0], said.text, decoded(head.signature))


def test_a_log_that_is_not_chained_yet_has_no_head(world: World) -> None:
    with world.store.writing() as connection:
        events.append(connection, [Event(EventType.PROVIDER_PAUSED, "operator", world.at)])
        connection.execute(EventRow.__table__.update().values(seq=1))
    assert sign(world) == 0


def test_a_copy_that_was_made_but_not_noted_is_made_again(world: World, tmp_path: Path) -> None:
    tell(world)
    sign(world)
    storage = LocalStorage(tmp_path / "archive")
    with world.store.reading() as connection:
        (head,) = heads.unarchived(connection, limit=9)
    anchor._put(storage, [head])  # And then it died.
    assert anchor.archive(world.store, storage, limit=9, now=world.at) == 1
    assert read_head(b"".join(storage.read(head_key(head.statement.log_id, 1)))) == head


def test_while_the_archive_is_away_heads_wait_for_it(world: World, tmp_path: Path) -> None:
    (tmp_path / "archive").write_text("no directory")
    for _ in range(3):
        tell(world)
        sign(world)
        world.later(minutes=1)
    with pytest.raises(StorageError):
        anchor.archive(world.store, LocalStorage(tmp_path / "archive"), limit=9, now=world.at)
    (tmp_path / "archive").unlink()
    assert anchor.archive(world.store, LocalStorage(tmp_path / "archive"), limit=9, now=world.at) == 3


def test_a_new_key_signs_on_and_the_old_one_stays_known(world: World) -> None:
    tell(world)
    sign(world)
    tell(world)
    world.later(minutes=1)
    other = Ed25519Signer(b"\1" * 32)
    assert anchor.sign(world.store, other, now=world.at) == 1
    assert identity(world.store)[1] == [other.public_key, SIGNER.public_key]
