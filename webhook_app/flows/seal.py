"""Numbering the log: gives committed events their gapless `seq`."""

from webhook_app.store import events
from webhook_app.store.engine import Store


def seal(store: Store, *, limit: int = 1000) -> int:
    """Number up to `limit` events, oldest first; one sealer at a time over all processes. Returns how many."""
    with store.writing() as connection:
        return events.seal(connection, limit=limit) if events.may_seal(connection) else 0
