"""Clients and API keys."""

import hashlib

import pytest

from tests.flows.world import World
from webhook_app.domain.errors import InvalidField
from webhook_app.domain.job import Scope
from webhook_app.flows import keys
from webhook_app.store.engine import Store
from webhook_app.store.tables import ApiKey, Client


def test_a_key_is_kept_as_its_digest_alone(world: World) -> None:
    key_id, secret = keys.create_key(
        world.store, client="acme", name="k", scopes=[Scope.READ, Scope.ADMIN], now=world.at
    )
    (row,) = world.rows(ApiKey, ApiKey.key_id == key_id)
    assert row.sha256 == hashlib.sha256(secret.encode()).hexdigest()
    assert (row.scopes, row.client_id, row.revoked_at) == (["read", "admin"], world.client_id, None)
    assert secret not in str(row)


def test_a_client_is_made_once(world: World) -> None:
    assert len({keys.create_client(world.store, name="other", now=world.at) for _ in range(3)}) == 1
    assert keys.ensure_bootstrap(world.store, now=world.at) == keys.ensure_bootstrap(world.store, now=world.at)
    assert {row.name for row in world.rows(Client)} == {"acme", "other", "bootstrap"}


def test_a_key_of_one_s_own_is_registered_once(world: World) -> None:
    def register(secret: str) -> str:
        return keys.create_key(world.store, client="acme", name="k", scopes=[], secret=secret, now=world.at)[1]

    assert register("a key that is long enough") == "a key that is long enough"
    for bad in ("a key that is long enough", "short"):
        with pytest.raises(InvalidField):
            register(bad)


def test_a_revoked_key_stays_revoked_since_the_first_time(world: World) -> None:
    assert keys.revoke_key(world.store, world.key_id, now=world.at)
    first = world.at
    world.later(hours=1)
    assert keys.revoke_key(world.store, world.key_id, now=world.at)
    assert world.rows(ApiKey)[0].revoked_at == first
    assert not keys.revoke_key(world.store, "key_unknown", now=world.at)


def test_an_installation_without_a_key_is_new(store: Store) -> None:
    assert keys.is_new_installation(store)
    World(store)
    assert not keys.is_new_installation(store)
