"""Warning of pictures that will be gone soon: once for each, while there is still time to do something."""

from datetime import datetime

from webhook_app.domain import schedule
from webhook_app.domain.durations import seconds_between
from webhook_app.domain.events import Event, EventType
from webhook_app.store import events, images, jobs
from webhook_app.store.engine import Store


def warn(store: Store, *, limit: int, now: datetime) -> int:
    """Tell of pictures that are not copied yet and have four hours left at most, the earliest deadline first. Returns
    how many; may be run by any number of workers."""
    with store.reading() as connection:
        near = images.near_their_end(connection, before=now + schedule.AT_RISK, limit=limit)
    if not near:
        return 0
    with store.writing() as connection:
        owners = jobs.lock(connection, sorted({row.track_id for row in near}))
        warned = images.mark_at_risk(connection, [row.image_id for row in near], now=now)
        told = []
        for row in warned:
            job = owners[row.track_id]
            data = {"image_id": row.image_id, "left_s": seconds_between(now, row.source_expires_at)}
            data["reason"] = row.reason
            told.append(Event(EventType.IMAGE_AT_RISK, "worker", now, job.track_id, job.client_id, job.batch_id, data))
        events.append(connection, told)
    return len(warned)
