"""Clients' endpoints, from made to removed, and the secrets that sign what goes there. A secret leaves here when it is
made, and never again; the one for the URLs of a client's jobs may be asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row

from webhook_app.domain.errors import InvalidField, NotFound
from webhook_app.domain.ids import new_id
from webhook_app.domain.vault import Unreadable, Vault
from webhook_app.domain.webhooks import LADDER, TEST, new_secret, receiver_of, secret_text
from webhook_app.flows import show
from webhook_app.flows.notify import default_secret
from webhook_app.store import deliveries, endpoints, log, receivers
from webhook_app.store.engine import Store

# Each event is sent to each of them: somebody has to bound it.
# Each event may make a delivery for each of them, in the sealer's transaction.
MOST_ENDPOINTS = 20
LOCKED_AT_ONCE = 100
NO_SUCH_ENDPOINT = "There is no such endpoint."
ENABLED = {"disabled_at": None, "disabled_reason": None}


@dataclass(frozen=True, slots=True)
class NewEndpoint:
    """What a client wants to be told, and where. `events` None: the defaults."""

    url: str
    events: list[str] | None
    description: str | None


def subscribe(store: Store, vault: Vault, asked: NewEndpoint, *, client_id: str, now: datetime) -> tuple[str, str]:
    """Make an endpoint: its id and its secret. Raises `InvalidField` when the client has too many."""
    endpoint_id, secret = new_id("ep"), new_secret()
    with store.writing() as connection:
        if endpoints.count(connection, client_id) >= MOST_ENDPOINTS:
            raise InvalidField(f"A client may have {MOST_ENDPOINTS} endpoints.", pointer="/url")
        values = {
            "endpoint_id": endpoint_id,
            "client_id": client_id,
            "url": asked.url,
            "receiver": receiver_of(client_id, asked.url),
            "events": asked.events,
            "description": asked.description,
            "secret": vault.lock(secret, endpoint_id),
            "created_at": now,
        }
        endpoints.add(connection, values)
    return endpoint_id, secret_text(secret)


def change(store: Store, endpoint_id: str, values: Mapping[str, Any], *, now: datetime) -> None:
    """Write `url`, `events`, `description`, as far as they are given. What still waits for an old URL ends. Raises
    `NotFound`."""
    with store.writing() as connection:
        row = _locked(connection, endpoint_id)
        moved = {"receiver": receiver_of(row.client_id, values["url"])} if "url" in values else {}
        if values:
            endpoints.save(connection, endpoint_id, dict(values) | moved)
        if moved:
            deliveries.cancel_unwanted(connection, row.receiver, now=now)


def unsubscribe(store: Store, endpoint_id: str, *, now: datetime) -> None:
    """Remove an endpoint; what still waits for it ends, the log of what was sent stays. Raises `NotFound`."""
    with store.writing() as connection:
        row = _locked(connection, endpoint_id)
        endpoints.remove(connection, endpoint_id)
        deliveries.cancel_unwanted(connection, row.receiver, now=now)


def enable(store: Store, endpoint_id: str) -> None:
    """Send to it again, from the next event on; may be repeated. Raises `NotFound`."""
    with store.writing() as connection:
        receiver = _receiver(connection, endpoint_id)
        receivers.forget(connection, receiver)
        endpoints.save(connection, endpoint_id, ENABLED)


def _receiver(connection: Connection, endpoint_id: str) -> str:
    row = endpoints.by_id(connection, [endpoint_id]).get(endpoint_id)
    if row is None:
        raise NotFound(NO_SUCH_ENDPOINT)
    return str(row.receiver)


def _locked(connection: Connection, endpoint_id: str) -> Row[Any]:
    row = endpoints.lock(connection, endpoint_id)
    if row is None:
        raise NotFound(NO_SUCH_ENDPOINT)
    return row


def rotate(store: Store, vault: Vault, endpoint_id: str, *, overlap: timedelta, now: datetime) -> str:
    """A new secret for an endpoint; the old one signs too for as long as they overlap. Raises `NotFound`."""
    secret = new_secret()
    with store.writing() as connection:
        locked = vault.lock(secret, endpoint_id)
        if not endpoints.rotate(connection, endpoint_id, secret=locked, previous_until=now + overlap):
            raise NotFound(NO_SUCH_ENDPOINT)
    return secret_text(secret)


def test(store: Store, endpoint_id: str, *, now: datetime) -> str:
    """Have one made-up event sent to an endpoint, a disabled one too, once; the delivery's id. Raises `NotFound`."""
    delivery_id, event_id = new_id("dlv"), new_id("evt")
    with store.writing() as connection:
        row = _locked(connection, endpoint_id)
        body = {"type": TEST, "timestamp": now, "data": {"endpoint": {"endpoint_id": endpoint_id, "url": row.url}}}
        values = {
            "delivery_id": delivery_id,
            "client_id": row.client_id,
            "event_id": event_id,
            "type": TEST,
            "track_id": None,
            "batch_id": None,
            "endpoint_id": endpoint_id,
            "of_job": False,
            "url": row.url,
            # Apart from the true ones: it waits for no breaker, and tells none anything.
            "receiver": receiver_of(row.client_id, f"test {event_id}"),
            "body": show.dumps(body).decode(),
            "created_at": now,
            "due_at": now,
            "rung": len(LADDER),
        }
        deliveries.add(connection, [values])
    return delivery_id


def recover(store: Store, endpoint_id: str, *, since: datetime) -> None:
    """Have everything sent again that an endpoint should have got since then and has not; a worker does it, batch by
    batch. Asked again, it begins anew. Raises `NotFound`."""
    with store.writing() as connection:
        # What is sealed just now may not know yet that the endpoint was enabled: it belongs to what was missed.
        log.wait_for_sealer(connection)
        _locked(connection, endpoint_id)
        after, until = log.numbers_since(connection, since)
        cursor = {"recover_after": after, "recover_until": until, "recover_since": since}
        endpoints.save(connection, endpoint_id, cursor)


def show_default_secret(store: Store, vault: Vault, client_id: str, *, now: datetime) -> str:
    """The secret that signs what goes to the URLs of a client's jobs; made when there is none. Raises `Unreadable`."""
    with store.writing() as connection:
        row = default_secret(connection, vault, client_id, now)
    return secret_text(vault.open(row.secret, client_id))


def rotate_default_secret(store: Store, vault: Vault, client_id: str, *, overlap: timedelta, now: datetime) -> str:
    """A new one; the old one signs too for as long as they overlap."""
    secret = new_secret()
    with store.writing() as connection:
        default_secret(connection, vault, client_id, now)
        locked = vault.lock(secret, client_id)
        endpoints.rotate_default(connection, client_id, secret=locked, previous_until=now + overlap)
    return secret_text(secret)


def lock_again(store: Store, vault: Vault) -> int:
    """Lock stored secrets with the newest `SECRET_KEY` where an older one did, so that that may go. Returns how many;
    one that none of the keys opens stays as it is, and does not count."""
    with store.looking() as connection:
        old = endpoints.locked_otherwise(connection, vault.newest, limit=LOCKED_AT_ONCE)
    done = 0
    for owner, name, text in old:
        try:
            new = vault.lock(vault.open(text, owner), owner)
        except Unreadable:
            continue
        with store.writing() as connection:
            endpoints.lock_again(connection, owner, name, old=text, new=new)
        done += 1
    return done
