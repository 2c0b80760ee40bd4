"""Pictures and the blobs behind them, as the doors show them."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Select, select

from webhook_app.store.bulk import Statement
from webhook_app.store.tables import Blob, Image, Job

WITH_BLOB: Select[Any] = select(
    Image.__table__,
    Blob.content_type,
    Blob.bytes,
    Blob.width,
    Blob.height,
    Blob.thumbnails,
    Blob.state.label("blob_state"),
).outerjoin(Blob, Blob.sha256 == Image.sha256)
OF_JOBS = Statement(
    lambda among: WITH_BLOB.where(among(Image.__table__.c.track_id)).order_by(Image.track_id, Image.index)
)


WITHOUT_BLOB = dict.fromkeys(("content_type", "bytes", "width", "height", "thumbnails", "blob_state"))


def images_of(connection: Connection, track_ids: Collection[str]) -> dict[str, list[dict[str, Any]]]:
    """The pictures of these jobs by track_id, in order of their index, each with `content_type, bytes, width, height,
    thumbnails` of its blob (None where it is not archived). Every id that was asked for has an entry."""
    found: dict[str, list[dict[str, Any]]] = {track_id: [] for track_id in track_ids}
    for row in OF_JOBS.execute(connection, list(found)):
        found[row.track_id].append(dict(row._mapping))
    return found


def image(connection: Connection, image_id: str) -> dict[str, Any] | None:
    """One picture with its blob's facts, and `client_id, job_status, archive_status, erased_at, submitted_at, input,
    samples` of its job."""
    of_job = (Job.client_id, Job.status.label("job_status"), Job.archive_status, Job.erased_at)
    asked = (Job.submitted_at, Job.input, Job.samples)
    statement = WITH_BLOB.add_columns(*of_job, *asked).join(Job, Job.track_id == Image.track_id)
    row = connection.execute(statement.where(Image.image_id == image_id)).one_or_none()
    return None if row is None else dict(row._mapping)


def blob(connection: Connection, sha256: str) -> dict[str, Any] | None:
    """What is known of these bytes."""
    row = connection.execute(select(Blob.__table__).where(Blob.sha256 == sha256)).one_or_none()
    return None if row is None else dict(row._mapping)
