"""Removing what processes that died have left on this machine's disks: pictures on their way into the archive, which
may have been erased since."""

from datetime import datetime, timedelta

from webhook_app.flows import workspace
from webhook_app.storage.port import Storage

# A put takes seconds; one that takes longer than this fails by its sweeping, and is repeated.
PUT_WITHIN = timedelta(minutes=10)


def tidy(storage: Storage, *, now: datetime) -> int:
    """Working folders of dead processes at once, half-written objects after ten minutes; returns how many. Raises
    `StorageError`, and OSError when there is no temporary directory."""
    return workspace.sweep() + storage.sweep(now - PUT_WITHIN)
