"""Sending again: one delivery, or all that an endpoint has missed since a date."""

from datetime import datetime

from sqlalchemy import Connection, Row

from webhook_app.domain.errors import EndpointNotActive, Erased, NotFound
from webhook_app.domain.webhooks import TEST
from webhook_app.flows.announce import Wish, is_wanted, make
from webhook_app.flows.show import Addresses
from webhook_app.store import deliveries, endpoints, log, receivers
from webhook_app.store.engine import Store

EVENTS_AT_ONCE = 500
ENDPOINTS_AT_ONCE = 10


def retry(store: Store, delivery_id: str, *, now: datetime) -> None:
    """Try a delivery now, with the same id and body, also one that succeeded; it climbs the ladder anew. One that is
    being sent is left alone. Raises `NotFound`, `Erased` and `EndpointNotActive`."""
    with store.looking() as connection:
        known = deliveries.get(connection, delivery_id)
    if known is None:
        raise NotFound("There is no such delivery.")
    with store.writing() as connection:
        receivers.let_through(connection, known.receiver, now=now)
        row = deliveries.lock(connection, [delivery_id])[delivery_id]
        if row.body is None:
            raise Erased("This delivery's job has been erased.")
        if not _is_wanted_there(connection, row):
            raise EndpointNotActive("No active endpoint has this URL any more: enable it, or make one.")
        deliveries.again(connection, [delivery_id], now=now)


def _is_wanted_there(connection: Connection, row: Row) -> bool:  # type: ignore[type-arg] # any columns
    if row.type == TEST:
        return bool(endpoints.by_id(connection, [row.endpoint_id]))
    return row.of_job or endpoints.is_active(connection, row.receiver)


def recover_due(store: Store, addresses: Addresses, *, now: datetime) -> int:
    """Go on with the endpoints that somebody asked to recover, some events of each. Returns how many events were
    looked at. Bodies are made as the sealer does, and never beside it: whoever erases a job waits for both."""
    with store.looking() as connection:
        if not endpoints.to_recover(connection, limit=1):
            return 0
    with store.writing() as connection:
        if not log.may_seal(connection):
            return 0
        rows = endpoints.to_recover(connection, limit=ENDPOINTS_AT_ONCE)
        return sum(_recover_some(connection, row, addresses, now) for row in rows)


def _recover_some(connection: Connection, row: Row, addresses: Addresses, now: datetime) -> int:  # type: ignore[type-arg]
    found = deliveries.events_of_client(
        connection, row.client_id, after=row.recover_after, until=row.recover_until, limit=EVENTS_AT_ONCE
    )
    is_done = len(found) < EVENTS_AT_ONCE
    # Before its deliveries: the order of locks is the same everywhere.
    endpoints.recovered(connection, row, after=None if is_done else found[-1]["seq"])
    missed = [each for each in found if each["created_at"] >= row.recover_since and is_wanted(each["type"], row.events)]
    if missed:
        event_ids = [each["event_id"] for each in missed]
        deliveries.again_unless_succeeded(connection, row.receiver, event_ids, now=now)
        known = deliveries.known_events(connection, row.receiver, event_ids)
        fresh = [each for each in missed if each["event_id"] not in known]
        wishes = [Wish(each["seq"], row.url, row.receiver, row.endpoint_id, False) for each in fresh]
        make(connection, fresh, wishes, addresses, now=now)
    return len(found)
