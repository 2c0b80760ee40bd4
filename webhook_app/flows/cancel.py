"""Stopping a job: an act of ours alone, for the provider has no cancel. What it still reports is kept on record and
changes nothing, and nothing is archived."""

from datetime import datetime

from webhook_app.domain.errors import Erased, JobAlreadyEnded, NotFound
from webhook_app.domain.job import TERMINAL, Status
from webhook_app.flows import ending
from webhook_app.store import jobs
from webhook_app.store.engine import Store


def cancel(store: Store, track_id: str, *, by: str, now: datetime) -> None:
    """End an unfinished job as canceled, for good; again it changes nothing. Raises `NotFound`, `Erased`, and
    `JobAlreadyEnded` where it ended otherwise."""
    with store.writing() as connection:
        row = jobs.lock(connection, [track_id]).get(track_id)
        if row is None:
            raise NotFound("There is no such job.")
        if row.erased_at is not None:
            raise Erased("This job has been erased.")
        if row.status == Status.CANCELED:
            return
        if row.status in TERMINAL:
            raise JobAlreadyEnded(f"The job has ended: {row.status}.")
        ending.cancel(connection, [dict(row._mapping)], by=by, now=now)
