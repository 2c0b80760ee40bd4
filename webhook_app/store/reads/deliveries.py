"""Endpoints and deliveries as the doors show them, and how the sending stands."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, literal_column, select, tuple_

from webhook_app.store.reads.standing import MOST, Waiting, is_of_client
from webhook_app.store.tables import Delivery, DeliveryAttempt, Endpoint, Receiver
from webhook_app.store.types import Instant

After = tuple[datetime, str] | None
# Not a parameter: the partial indexes must be seen to fit.
PENDING = Delivery.status == literal_column("'pending'")
# Without the body, which may have 20 kB.
FACTS = [column for column in Delivery.__table__.columns if column.name != "body"]
SECRETS = ("secret", "previous_secret")
SHOWN = [column for column in Endpoint.__table__.columns if column.name not in SECRETS]


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """What a list holds. None and no statuses do not restrict; of several statuses any one is enough. `client_id` None
    is everyone's, `after` the (created_at, delivery_id) of the last one on the page before."""

    client_id: str | None
    track_id: str | None = None
    endpoint_id: str | None = None
    statuses: Collection[str] = ()
    after: After = None


def endpoint(connection: Connection, endpoint_id: str, client_id: str | None) -> dict[str, Any] | None:
    """One endpoint without its secrets; None when there is none or it is another client's (`client_id` None sees
    all)."""
    return _one(connection, select(*SHOWN).where(Endpoint.endpoint_id == endpoint_id), client_id)


def endpoints(
    connection: Connection, client_id: str | None, *, after: After = None, limit: int
) -> list[dict[str, Any]]:
    """A client's endpoints (None: everyone's), oldest first."""
    statement = select(*SHOWN).order_by(Endpoint.created_at, Endpoint.endpoint_id).limit(limit)
    if client_id is not None:
        statement = statement.where(Endpoint.client_id == client_id)
    if after is not None:
        position = tuple_(*after, types=[Instant(), Endpoint.endpoint_id.type])
        statement = statement.where(tuple_(Endpoint.created_at, Endpoint.endpoint_id) > position)
    return [dict(row._mapping) for row in connection.execute(statement)]


def delivery(connection: Connection, delivery_id: str, client_id: str | None) -> dict[str, Any] | None:
    """One delivery with its body; None as for `endpoint`."""
    return _one(connection, select(Delivery.__table__).where(Delivery.delivery_id == delivery_id), client_id)


def _one(connection: Connection, statement: Select[Any], client_id: str | None) -> dict[str, Any] | None:
    row = connection.execute(statement).one_or_none()
    return None if row is None or client_id not in (None, row.client_id) else dict(row._mapping)


def deliveries(connection: Connection, wanted: DeliveryFilter, *, limit: int) -> list[dict[str, Any]]:
    """A page of deliveries, newest first, without their bodies."""
    key = tuple_(Delivery.created_at, Delivery.delivery_id)
    statement = select(*FACTS).order_by(Delivery.created_at.desc(), Delivery.delivery_id.desc()).limit(limit)
    if wanted.client_id is not None:
        statement = statement.where(Delivery.client_id == wanted.client_id)
    if wanted.track_id is not None:
        statement = statement.where(Delivery.track_id == wanted.track_id)
    if wanted.endpoint_id is not None:
        statement = statement.where(Delivery.endpoint_id == wanted.endpoint_id)
    if wanted.statuses:
        statement = statement.where(Delivery.status.in_(sorted(wanted.statuses)))
    if wanted.after is not None:
        statement = statement.where(key < tuple_(*wanted.after, types=[Instant(), Delivery.delivery_id.type]))
    return [dict(row._mapping) for row in connection.execute(statement)]


def attempts_at_delivery(connection: Connection, delivery_id: str) -> list[dict[str, Any]]:
    """Every try of a delivery, in order, the last hundred at most."""
    statement = select(DeliveryAttempt.__table__).where(DeliveryAttempt.delivery_id == delivery_id)
    rows = connection.execute(statement.order_by(DeliveryAttempt.n.desc()).limit(100)).all()
    return [dict(row._mapping) for row in reversed(rows)]


def deliveries_pending(connection: Connection) -> int:
    """How many wait for a try, now or later."""
    some = select(Delivery.due_at).where(PENDING).limit(MOST).subquery()
    return connection.scalar(select(func.count()).select_from(some)) or 0


def deliveries_due(connection: Connection, *, now: datetime, client_id: str | None = None) -> Waiting:
    """Those whose time has come, and since when the one that has waited longest is due; `client_id` None is
    everyone's."""
    whose = [] if client_id is None else [is_of_client(Delivery.client_id, client_id)]
    some = select(Delivery.due_at).where(PENDING, Delivery.due_at <= now, *whose)
    some_of_them = some.order_by(Delivery.due_at).limit(MOST).subquery()
    count, oldest = connection.execute(select(func.count(), func.min(some_of_them.c.due_at))).one()
    return Waiting(count, oldest)


def receivers_open(connection: Connection, *, now: datetime) -> int:
    """How many URLs are left alone for a while."""
    return connection.scalar(select(func.count()).where(Receiver.open_until > now)) or 0


def endpoints_disabled(connection: Connection) -> int:
    return connection.scalar(select(func.count()).where(Endpoint.disabled_at.is_not(None))) or 0
