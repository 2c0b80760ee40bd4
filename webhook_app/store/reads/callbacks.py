"""Everything that was received with a good token, of whichever job, orphans included."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, tuple_

from webhook_app.domain.advance import Verdict
from webhook_app.store.callbacks import ORPHANED
from webhook_app.store.tables import Callback
from webhook_app.store.types import Instant

# Without what is as large as its sender liked: a page of bodies could be 200 MiB.
FACTS = [column for column in Callback.__table__.columns if column.name not in ("body", "headers", "retry_at")]


@dataclass(frozen=True, slots=True)
class CallbackFilter:
    """What a list holds. Empty collections and None do not restrict; of several verdicts any one is enough. `after` is
    the (received_at, callback_id) of the last one on the page before."""

    track_id: str | None = None
    verdicts: Collection[str] = ()
    provider: str | None = None
    received_after: datetime | None = None
    received_before: datetime | None = None
    orphaned: bool | None = None
    after: tuple[datetime, str] | None = None


def callbacks(connection: Connection, wanted: CallbackFilter, *, limit: int) -> list[dict[str, Any]]:
    """A page of callbacks, newest first, without their bodies and headers."""
    statement = select(*FACTS).order_by(Callback.received_at.desc(), Callback.callback_id.desc()).limit(limit)
    if wanted.track_id is not None:
        statement = statement.where(Callback.track_id == wanted.track_id)
    if wanted.verdicts:
        statement = statement.where(Callback.verdict.in_(sorted(wanted.verdicts)))
    if wanted.provider is not None:
        statement = statement.where(Callback.provider == wanted.provider)
    if wanted.received_after is not None:
        statement = statement.where(Callback.received_at >= wanted.received_after)
    if wanted.received_before is not None:
        statement = statement.where(Callback.received_at < wanted.received_before)
    if wanted.orphaned is not None:
        statement = statement.where(
            ORPHANED if wanted.orphaned else Callback.verdict.is_distinct_from(Verdict.ORPHANED)
        )
    if wanted.after is not None:
        end = tuple_(*wanted.after, types=[Instant(), Callback.callback_id.type])
        statement = statement.where(tuple_(Callback.received_at, Callback.callback_id) < end)
    return [dict(row._mapping) for row in connection.execute(statement)]


def callback(connection: Connection, callback_id: str) -> dict[str, Any] | None:
    """One callback, whole."""
    row = connection.execute(select(Callback.__table__).where(Callback.callback_id == callback_id)).one_or_none()
    return None if row is None else dict(row._mapping)
