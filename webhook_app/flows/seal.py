"""Numbering the log: gives committed events their gapless `seq`, and counts them in the same transaction."""

from datetime import datetime

from webhook_app.store import counters, events
from webhook_app.store.engine import Store


def seal(store: Store, *, limit: int = 1000) -> int:
    """Number up to `limit` events, oldest first; one sealer at a time over all processes. Returns how many."""
    with store.writing() as connection:
        return events.seal(connection, limit=limit) if events.may_seal(connection) else 0


def prune(store: Store, *, now: datetime) -> int:
    """Forget some of the counters' old minutes and hours, as the only writer. Returns how many rows."""
    with store.writing() as connection:
        return counters.prune(connection, now=now) if events.may_seal(connection) else 0
