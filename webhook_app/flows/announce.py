"""Making deliveries, in the sealer's transaction: one for each event and URL, with a body that stays as it is from then
on. Nothing here commits."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from webhook_app.domain.events import WEBHOOK_DEFAULTS
from webhook_app.domain.ids import new_id
from webhook_app.domain.webhooks import receiver_of
from webhook_app.flows import show
from webhook_app.flows.show import Addresses
from webhook_app.store import deliveries, reads

DEFAULTS = frozenset(kind.value for kind in WEBHOOK_DEFAULTS)
# Bodies have up to 20 kB each: a statement gets so many of them.
AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Wish:
    """That an event go to a URL. `endpoint_id` None: the job itself names it alone."""

    seq: int
    url: str
    receiver: str
    endpoint_id: str | None
    of_job: bool


def announce(connection: Connection, *, first: int, last: int, addresses: Addresses, now: datetime) -> int:
    """Make the deliveries of the events from number `first` to `last`. Returns how many; where nobody wants any, this
    was one statement."""
    wishes: dict[tuple[int, str], Wish] = {}
    for row in deliveries.wanted(connection, first=first, last=last):
        if not is_wanted(row.type, row.wanted):
            continue
        receiver, of_job = receiver_of(row.client_id, row.url), row.endpoint_id is None
        known = wishes.get((row.seq, receiver))
        # Of several endpoints with the same URL the oldest has it; all of them sign.
        endpoint_id = row.endpoint_id if known is None else known.endpoint_id
        of_job = of_job or (known is not None and known.of_job)
        wishes[row.seq, receiver] = Wish(row.seq, row.url, receiver, endpoint_id, of_job)
    if not wishes:
        return 0
    events = deliveries.events_by_seq(connection, {wish.seq for wish in wishes.values()})
    make(connection, events, list(wishes.values()), addresses, now=now)
    return len(wishes)


def is_wanted(kind: str, chosen: Sequence[str] | None) -> bool:
    """Whether somebody who chose these types (None: the defaults) gets an event of this one."""
    return kind in (DEFAULTS if chosen is None else chosen)


def make(
    connection: Connection,
    events: Sequence[dict[str, Any]],
    wishes: Sequence[Wish],
    addresses: Addresses,
    *,
    now: datetime,
) -> None:
    """Deliveries of sealed events, due at once. Those that exist are left as they are."""
    by_seq = {event["seq"]: event for event in events}
    bodies = bodies_of(connection, events, addresses, now=now)
    rows = [
        {
            "delivery_id": new_id("dlv"),
            **{name: by_seq[wish.seq][name] for name in ("client_id", "event_id", "type", "track_id", "batch_id")},
            "endpoint_id": wish.endpoint_id,
            "of_job": wish.of_job,
            "url": wish.url,
            "receiver": wish.receiver,
            "body": bodies[wish.seq],
            "created_at": now,
            "due_at": now,
        }
        for wish in wishes
    ]
    for start in range(0, len(rows), AT_ONCE):
        deliveries.add(connection, rows[start : start + AT_ONCE])


def bodies_of(
    connection: Connection, events: Sequence[dict[str, Any]], addresses: Addresses, *, now: datetime
) -> dict[int, str]:
    """What is sent of each of these events, by number: the event, and its job (null once it is erased) or its batch
    as GET returns them."""
    track_ids = sorted({event["track_id"] for event in events if event["track_id"] is not None})
    rows = [row for row in reads.jobs_of(connection, track_ids) if row["erased_at"] is None]
    shown = {job["track_id"]: job for job in show.jobs(connection, rows, addresses, now=now)} if rows else {}
    batches = _batches(connection, events, addresses)
    return {
        event["seq"]: _body(event, _about(event, shown, batches) | {"event": show.event(event)}) for event in events
    }


def _batches(
    connection: Connection, events: Sequence[dict[str, Any]], addresses: Addresses
) -> dict[str, dict[str, Any]]:
    """The batches that events without a job are about. They are few: one for each batch in its life."""
    ids = {event["batch_id"] for event in events if event["track_id"] is None and event["batch_id"] is not None}
    found = {batch_id: reads.batch(connection, batch_id, None) for batch_id in sorted(ids)}
    return {batch_id: show.batch(row, addresses) for batch_id, row in found.items() if row is not None}


def _about(
    event: dict[str, Any], jobs: dict[str, dict[str, Any]], batches: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    if event["track_id"] is not None:
        return {"job": jobs.get(event["track_id"])}
    return {} if event["batch_id"] is None else {"batch": batches.get(event["batch_id"])}


def _body(event: dict[str, Any], data: dict[str, Any]) -> str:
    return show.dumps({"type": event["type"], "timestamp": event["created_at"], "data": data}).decode()
