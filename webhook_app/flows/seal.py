"""Sealing the log: gives committed events their gapless `seq` and their hash, and does what follows from them in the
same transaction. One sealer at a time over all processes."""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection

from webhook_app.store import counters, log
from webhook_app.store.engine import Store

# What follows from it is in the same transaction: with 20 endpoints each event may make as many deliveries.
AT_ONCE = 250
Tell = Callable[[Connection, int, int], object]


def seal(store: Store, *, limit: int = AT_ONCE, tell: Tell | None = None, thoroughly: bool = True) -> int | None:
    """Seal up to `limit` events, oldest first; `tell` is called in the same transaction with the first and the last of
    the new numbers: it makes the deliveries. Returns how many were numbered or, where an older release has numbered
    without chaining, chained; None where another sealer is at work. Without `thoroughly` it does not find what was
    inserted `log.LOOK_BACK` events before it was committed; a thorough look reads all that a long transaction elsewhere
    keeps in the index."""
    with store.writing() as connection:
        if not log.may_seal(connection):
            return None
        found = log.unsealed(connection, limit=limit, thoroughly=thoroughly)
        if found.last_hash is None:
            return log.chain(connection, limit=limit)
        events = log.sealed(found)
        log.write(connection, events)
        if events and tell is not None:
            tell(connection, events[0].seq, events[-1].seq)
        return len(events)


def chain(store: Store, *, limit: int = 1000) -> int:
    """Chain what an older release has numbered only, oldest first; a log that is whole has nothing to do. Returns how
    many."""
    with store.writing() as connection:
        return log.chain(connection, limit=limit) if log.may_seal(connection) else 0


def prune(store: Store, *, now: datetime) -> int:
    """Forget some of the counters' old minutes and hours, as the only writer. Returns how many rows."""
    with store.writing() as connection:
        return counters.prune(connection, now=now) if log.may_seal(connection) else 0
