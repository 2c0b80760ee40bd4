"""Deliveries: made by the sealer, leased by workers, ended once. Nothing here commits; the flow does."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    Integer,
    Row,
    Text,
    bindparam,
    cast,
    exists,
    func,
    literal_column,
    null,
    or_,
    select,
    text,
    union_all,
    update,
)

from webhook_app.domain.webhooks import DeliveryStatus, Reason
from webhook_app.store.bulk import AddMany, SaveMany, Statement, table_of
from webhook_app.store.lookup import Lookup
from webhook_app.store.tables import Delivery, DeliveryAttempt, Endpoint, EventRow, Job
from webhook_app.store.types import Instant

DELIVERIES = table_of(Delivery)
ATTEMPTS = table_of(DeliveryAttempt)
EVENTS, JOBS, ENDPOINTS = table_of(EventRow), table_of(Job), table_of(Endpoint)
# Not a parameter: the partial indexes must be seen to fit.
PENDING = DELIVERIES.c.status == literal_column("'pending'")
FREE = or_(DELIVERIES.c.lease_until.is_(None), DELIVERIES.c.lease_until < bindparam("now", type_=Instant()))
DUE = (PENDING, DELIVERIES.c.due_at <= bindparam("now", type_=Instant()), FREE)
SEALED = EVENTS.c.seq.between(bindparam("first"), bindparam("last"))
# Who wants the events of this stretch of the log, whatever their type: endpoints, and jobs with a URL of their own.
WANTED = Lookup(
    union_all(
        select(
            EVENTS.c.seq,
            EVENTS.c.type,
            ENDPOINTS.c.events.label("wanted"),
            ENDPOINTS.c.url,
            EVENTS.c.client_id,
            ENDPOINTS.c.endpoint_id,
            ENDPOINTS.c.created_at,
        ).where(SEALED, EVENTS.c.client_id == ENDPOINTS.c.client_id, ENDPOINTS.c.disabled_at.is_(None)),
        select(
            EVENTS.c.seq,
            EVENTS.c.type,
            JOBS.c.webhook_events,
            JOBS.c.webhook,
            EVENTS.c.client_id,
            cast(null(), Text()),
            JOBS.c.created_at,
        ).where(SEALED, EVENTS.c.track_id == JOBS.c.track_id, JOBS.c.webhook.is_not(None), JOBS.c.erased_at.is_(None)),
    )
)
BY_SEQ = Statement(lambda among: select(EVENTS).where(among(EVENTS.c.seq)).order_by(EVENTS.c.seq))
NEW_COLUMNS = (
    "delivery_id",
    "client_id",
    "event_id",
    "type",
    "track_id",
    "batch_id",
    "endpoint_id",
    "of_job",
    "url",
    "receiver",
    "body",
    "status",
    "attempts",
    "rung",
    "created_at",
    "due_at",
    "fence",
)
ADD = AddMany(
    DELIVERIES,
    columns=NEW_COLUMNS,
    finish=lambda insert: insert.on_conflict_do_nothing(index_elements=["event_id", "receiver"]),
)
NEW = {"status": DeliveryStatus.PENDING.value, "attempts": 0, "rung": 0, "fence": 0}
CHOICE = select(DELIVERIES.c.delivery_id, DELIVERIES.c.client_id, DELIVERIES.c.receiver)
FIRST_DUE = CHOICE.where(*DUE).order_by(DELIVERIES.c.due_at).limit(bindparam("most", type_=Integer()))
ANY_DUE = select(DELIVERIES.c.delivery_id).where(*DUE).limit(1)
DUE_AT_RECEIVER = FIRST_DUE.where(DELIVERIES.c.receiver == bindparam("receiver"))
# A loose scan: one index probe for each URL that something waits for, however much that is.
RECEIVERS = text(
    """
    WITH RECURSIVE waiting(receiver) AS (
        SELECT min(receiver) FROM deliveries WHERE status = 'pending'
        UNION ALL
        SELECT (SELECT min(receiver) FROM deliveries WHERE status = 'pending' AND receiver > waiting.receiver)
        FROM waiting WHERE waiting.receiver IS NOT NULL
    )
    SELECT receiver FROM waiting WHERE receiver IS NOT NULL
    """
)
BUSY = (
    select(DELIVERIES.c.client_id, DELIVERIES.c.receiver, func.count().label("sends"))
    .where(DELIVERIES.c.lease_until >= bindparam("now", type_=Instant()))
    .group_by(DELIVERIES.c.client_id, DELIVERIES.c.receiver)
)
IN_ORDER = DELIVERIES.c.delivery_id
TAKE = Statement(
    lambda among: (
        select(DELIVERIES.c.delivery_id)
        .where(among(DELIVERIES.c.delivery_id), PENDING, FREE)
        .order_by(IN_ORDER)
        .with_for_update(skip_locked=True)
    )
)
LOCK = Statement(
    lambda among: select(DELIVERIES).where(among(DELIVERIES.c.delivery_id)).order_by(IN_ORDER).with_for_update()
)
SAVE = SaveMany(
    DELIVERIES,
    key=["delivery_id"],
    columns=["status", "reason", "attempts", "rung", "due_at", "finished_at"],
    also={"lease_owner": None, "lease_until": None},
)
ADD_ATTEMPTS = AddMany(
    ATTEMPTS, columns=["delivery_id", "n", "sent_at", "duration_ms", "status_code", "error", "excerpt"]
)


def wanted(connection: Connection, *, first: int, last: int) -> list[Any]:
    """Who wants the events from number `first` to `last`: `seq, type, wanted` (types, None for the defaults), `url,
    client_id, endpoint_id` (None: the job itself names the URL); of one event endpoints first, the oldest first."""
    rows = WANTED.within(connection, {"first": first, "last": last})
    return sorted(rows, key=lambda row: (row.seq, row.endpoint_id is None, row.created_at, row.endpoint_id or ""))


def events_by_seq(connection: Connection, numbers: Collection[int]) -> list[dict[str, Any]]:
    """Sealed events, in their order."""
    return [dict(row._mapping) for row in BY_SEQ.execute(connection, sorted(numbers))]


def events_of_client(
    connection: Connection, client_id: str, *, after: int, until: int, limit: int
) -> list[dict[str, Any]]:
    """A client's sealed events beyond number `after`, up to `until`, in their order."""
    statement = select(EVENTS).where(EVENTS.c.client_id == client_id, EVENTS.c.seq > after, EVENTS.c.seq <= until)
    return [dict(row._mapping) for row in connection.execute(statement.order_by(EVENTS.c.seq).limit(limit))]


def add(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Make deliveries. What was made for the same event and URL before stays as it is."""
    if rows:
        ADD.execute(connection, [NEW | row for row in rows])


def is_any_due(connection: Connection, *, now: datetime) -> bool:
    return connection.scalar(ANY_DUE, {"now": now}) is not None


def busy(connection: Connection, *, now: datetime) -> list[Row[Any]]:
    """What is being sent now: `client_id, receiver, sends`."""
    return list(connection.execute(BUSY, {"now": now}))


def first_due(connection: Connection, *, most: int, now: datetime) -> list[Row[Any]]:
    """`delivery_id, client_id, receiver` of those that have been due for longest; not locked."""
    return list(connection.execute(FIRST_DUE, {"most": most, "now": now}))


def receivers_waiting(connection: Connection) -> Sequence[str]:
    """Every URL (of a client) that something waits for, due or not."""
    return connection.scalars(RECEIVERS).all()


def due_at(connection: Connection, receiver: str, *, most: int, now: datetime) -> list[Row[Any]]:
    """As `first_due`, for one URL."""
    return list(connection.execute(DUE_AT_RECEIVER, {"receiver": receiver, "most": most, "now": now}))


def lease(
    connection: Connection, delivery_ids: Sequence[str], *, owner: str, until: datetime, now: datetime
) -> Sequence[Row[Any]]:
    """Lease those of these that nobody else has; returns their rows."""
    free = [row.delivery_id for row in TAKE.execute(connection, sorted(delivery_ids), now=now)]
    if not free:
        return []
    statement = update(Delivery).where(Delivery.delivery_id.in_(free))
    leased = statement.values(lease_owner=owner, lease_until=until, fence=Delivery.fence + 1)
    return connection.execute(leased.returning(DELIVERIES)).all()


def get(connection: Connection, delivery_id: str) -> Row[Any] | None:
    """One delivery, not locked."""
    return connection.execute(select(DELIVERIES).where(DELIVERIES.c.delivery_id == delivery_id)).one_or_none()


def known_events(connection: Connection, receiver: str, event_ids: Sequence[str]) -> set[str]:
    """Those of these events of which this URL has a delivery, however that stands."""
    known = (DELIVERIES.c.receiver == receiver, DELIVERIES.c.event_id.in_(event_ids))
    return set(connection.scalars(select(DELIVERIES.c.event_id).where(*known)))


def lock(connection: Connection, delivery_ids: Collection[str]) -> dict[str, Row[Any]]:
    """Deliveries by id, locked in one order."""
    return {row.delivery_id: row for row in LOCK.execute(connection, sorted(delivery_ids))}


def save(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write locked ones back and drop their leases."""
    if rows:
        SAVE.execute(connection, rows)


def add_attempts(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        ADD_ATTEMPTS.execute(connection, rows)


def ended(status: DeliveryStatus, reason: Reason | None, *, now: datetime) -> dict[str, Any]:
    """The columns of one that has come to its end."""
    return {"status": status.value, "reason": reason and reason.value, "due_at": None, "finished_at": now}


def cancel_unwanted(connection: Connection, receiver: str, *, now: datetime) -> int:
    """End what no active endpoint and no job wants there any more. What is being sent is left to its sender."""
    endpoint = exists().where(ENDPOINTS.c.receiver == DELIVERIES.c.receiver, ENDPOINTS.c.disabled_at.is_(None))
    waiting = (DELIVERIES.c.receiver == receiver, PENDING, DELIVERIES.c.lease_until.is_(None))
    values = ended(DeliveryStatus.CANCELED, Reason.UNWANTED, now=now)
    statement = update(DELIVERIES).where(*waiting, ~DELIVERIES.c.of_job, ~endpoint).values(**values)
    return connection.execute(statement).rowcount


def give_up(connection: Connection, receiver: str, *, created_before: datetime, now: datetime) -> int:
    """End what has found no way to this URL since before that instant."""
    waiting = (DELIVERIES.c.receiver == receiver, PENDING, DELIVERIES.c.lease_until.is_(None))
    values = ended(DeliveryStatus.FAILED, Reason.EXPIRED, now=now)
    old = DELIVERIES.c.created_at < created_before
    return connection.execute(update(DELIVERIES).where(*waiting, old).values(**values)).rowcount


def again(connection: Connection, delivery_ids: Sequence[str], *, now: datetime) -> None:
    """Try locked ones now, from the ladder's foot; one that is being sent is left alone."""
    values = {"status": DeliveryStatus.PENDING.value, "reason": None, "rung": 0, "due_at": now, "finished_at": None}
    resting = (DELIVERIES.c.delivery_id.in_(delivery_ids), or_(~PENDING, DELIVERIES.c.lease_until.is_(None)))
    connection.execute(update(DELIVERIES).where(*resting, DELIVERIES.c.body.is_not(None)).values(**values))


def again_unless_succeeded(connection: Connection, receiver: str, event_ids: Sequence[str], *, now: datetime) -> int:
    """Try those of these events now that this URL has not got. Returns how many."""
    unsuccessful = (
        DELIVERIES.c.receiver == receiver,
        DELIVERIES.c.event_id.in_(event_ids),
        DELIVERIES.c.status != DeliveryStatus.SUCCEEDED.value,
    )
    locked = select(DELIVERIES.c.delivery_id).where(*unsuccessful).order_by(IN_ORDER).with_for_update()
    ids = connection.scalars(locked).all()
    again(connection, ids, now=now)
    return len(ids)


def renew(connection: Connection, *, owner: str, until: datetime, now: datetime) -> None:
    """Keep what this worker is sending; a lease that ran out stays lost."""
    mine = select(DELIVERIES.c.delivery_id).where(DELIVERIES.c.lease_owner == owner, DELIVERIES.c.lease_until >= now)
    ids = connection.scalars(mine.order_by(IN_ORDER).with_for_update(skip_locked=True)).all()
    connection.execute(update(Delivery).where(Delivery.delivery_id.in_(ids)).values(lease_until=until))


def give_back(connection: Connection, *, owner: str) -> None:
    """Drop this worker's leases."""
    mine = select(DELIVERIES.c.delivery_id).where(DELIVERIES.c.lease_owner == owner).order_by(IN_ORDER)
    ids = connection.scalars(mine.with_for_update(skip_locked=True)).all()
    connection.execute(update(Delivery).where(Delivery.delivery_id.in_(ids)).values(lease_owner=None, lease_until=None))


def erase(connection: Connection, track_id: str, *, now: datetime) -> None:
    """Take everything out of a job's deliveries. What has not ended never will; what is being sent is not recorded."""
    rows = connection.execute(
        select(DELIVERIES.c.delivery_id, DELIVERIES.c.status)
        .where(DELIVERIES.c.track_id == track_id)
        .order_by(IN_ORDER)
        .with_for_update()
    ).all()
    ids = [row.delivery_id for row in rows]
    pending = [row.delivery_id for row in rows if row.status == DeliveryStatus.PENDING]
    canceled = ended(DeliveryStatus.CANCELED, Reason.ERASED, now=now)
    gone = {"body": None, "url": None, "fence": Delivery.fence + 1, "lease_owner": None, "lease_until": None}
    connection.execute(update(Delivery).where(Delivery.delivery_id.in_(pending)).values(**canceled, **gone))
    connection.execute(update(Delivery).where(Delivery.delivery_id.in_(ids)).values(**gone))
    connection.execute(update(DeliveryAttempt).where(DeliveryAttempt.delivery_id.in_(ids)).values(excerpt=None))
