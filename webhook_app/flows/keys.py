"""Clients and API keys: made, revoked. A key's secret is shown once; what is stored is its SHA-256."""

import hashlib
from collections.abc import Sequence
from datetime import datetime

from webhook_app.domain.errors import InvalidField
from webhook_app.domain.ids import new_api_key, new_id
from webhook_app.domain.job import Scope
from webhook_app.store import keys
from webhook_app.store.engine import Store

BOOTSTRAP_CLIENT = "bootstrap"
BOOTSTRAP_KEY_ID = "key_bootstrap"
LEAST_SECRET = 16


def digest(secret: str) -> str:
    """What is stored of an API key: keys carry 256 random bits, so a plain SHA-256 gives nothing away."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def create_client(store: Store, *, name: str, now: datetime) -> str:
    """The id of the client with this name; made when there is none."""
    with store.writing() as connection:
        return keys.ensure_client(connection, client_id=new_id("cli"), name=name, now=now)


def create_key(
    store: Store, *, client: str, name: str, scopes: Sequence[Scope], secret: str | None = None, now: datetime
) -> tuple[str, str]:
    """A key for the client with this name (made when absent): `(key_id, secret)`. A given `secret`, one that the client
    uses already, is registered as it is. Raises `InvalidField` when it is too short or taken."""
    if secret is not None and len(secret) < LEAST_SECRET:
        raise InvalidField(f"An API key needs at least {LEAST_SECRET} characters.", pointer="/key")
    chosen, key_id = secret or new_api_key(), new_id("key")
    with store.writing() as connection:
        if keys.key_id_of(connection, digest(chosen)) is not None:
            raise InvalidField("This API key is registered already.", pointer="/key")
        client_id = keys.ensure_client(connection, client_id=new_id("cli"), name=client, now=now)
        words = [scope.value for scope in scopes]
        keys.add_key(
            connection, key_id=key_id, client_id=client_id, name=name, sha256=digest(chosen), scopes=words, now=now
        )
    return key_id, chosen


def revoke_key(store: Store, key_id: str, *, now: datetime) -> bool:
    """End a key at once. False when there is no such key."""
    with store.writing() as connection:
        return keys.revoke(connection, key_id, now=now)


def ensure_bootstrap(store: Store, *, now: datetime) -> str:
    """The client that `BOOTSTRAP_API_KEY` acts for; the key itself is never stored."""
    return create_client(store, name=BOOTSTRAP_CLIENT, now=now)


def is_new_installation(store: Store) -> bool:
    """Whether nobody has an API key yet."""
    with store.reading() as connection:
        return not keys.any_key(connection)
