"""Statistics from the counters: any window from whole days, and the hours and minutes at its beginning."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, case, func, select, union_all

from webhook_app.domain.counting import TOOK, Duration
from webhook_app.domain.durations import percentile
from webhook_app.domain.estimates import LOOKED_BACK, Counted
from webhook_app.domain.job import RESENDABLE
from webhook_app.store.attempts import REPEATS
from webhook_app.store.counters import DAY, EPOCH, EVER, HOUR, KEPT, MINUTE
from webhook_app.store.reads.standing import is_of
from webhook_app.store.tables import Attempt, CounterRow, Job


@dataclass(slots=True)
class Totals:
    """Sums by name, and the counts by cell of each duration."""

    sums: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    cells: dict[str, dict[int, int]] = field(default_factory=lambda: {name.value: {} for name in Duration})


def window_begins_at(since: datetime, *, now: datetime) -> datetime:
    """Where a window from `since` on really begins: at its minute, or at the hour or day where the minutes, and then
    the hours, are kept no more."""
    # A bucket more than is deleted, so that nothing is missing while the oldest ones go.
    span_s = next((span for span, kept in KEPT.items() if since >= now - kept + timedelta(seconds=span)), DAY)
    return _floor(since, span_s)


def totals(
    connection: Connection, *, begins_at: datetime, client_id: str | None = None, name: str | None = None
) -> Totals:
    """What was counted from that instant (of `window_begins_at`) on; `client_id` None is everyone, `name` None
    everything."""
    hour, day = _ceiling(begins_at, HOUR), _ceiling(begins_at, DAY)
    minutes = (CounterRow.span_s == MINUTE, CounterRow.bucket_at >= begins_at, CounterRow.bucket_at < hour)
    hours = (CounterRow.span_s == HOUR, CounterRow.bucket_at >= hour, CounterRow.bucket_at < day)
    days = (CounterRow.span_s == DAY, CounterRow.bucket_at >= day)
    whose = [] if client_id is None else [CounterRow.client_id == client_id]
    which = [] if name is None else [CounterRow.name == name]
    columns = select(CounterRow.name, CounterRow.cell, CounterRow.value)
    parts = union_all(*(columns.where(*span, *whose, *which) for span in (minutes, hours, days))).subquery()
    summed = select(parts.c.name, parts.c.cell, func.sum(parts.c.value)).group_by(parts.c.name, parts.c.cell)
    found = Totals()
    for each, cell, value in connection.execute(summed):
        if each in found.cells:
            found.cells[each][cell] = int(value)
        elif not each.startswith(TOOK):
            found.sums[each] += int(value)
    return found


def generation_percentile(connection: Connection, *, percent: float, since: datetime, now: datetime) -> float | None:
    """That percentile of the seconds from submit to success, of all clients' jobs that succeeded since then; None
    where none did. Within 9 %."""
    begins_at = window_begins_at(since, now=now)
    found = totals(connection, begins_at=begins_at, name=Duration.GENERATION.value)
    return percentile(found.cells[Duration.GENERATION], percent)


def durations_by_kind(connection: Connection, *, now: datetime) -> list[Counted]:
    """How long jobs of the last day took: the last hour's by minutes, those before by hours."""
    hour = _floor(now - timedelta(hours=1), HOUR)
    minutes = (CounterRow.span_s == MINUTE, CounterRow.bucket_at >= hour)
    hours = (CounterRow.span_s == HOUR, CounterRow.bucket_at >= _floor(now - LOOKED_BACK, HOUR))
    columns = select(CounterRow.name, CounterRow.cell, CounterRow.value, CounterRow.bucket_at)
    named = (CounterRow.client_id == "", CounterRow.name.startswith(TOOK, autoescape=True))
    both = union_all(columns.where(*minutes, *named), columns.where(*hours, CounterRow.bucket_at < hour, *named))
    return [
        Counted(name.removeprefix(TOOK), cell, int(value), bucket_at)
        for name, cell, value, bucket_at in connection.execute(both)
    ]


def totals_ever(connection: Connection) -> dict[str, int]:
    """The sums by name since the beginning, over all clients."""
    ever = select(CounterRow.name, func.sum(CounterRow.value)).group_by(CounterRow.name)
    rows = connection.execute(ever.where(CounterRow.span_s == EVER, CounterRow.bucket_at == EPOCH))
    return {name: int(value) for name, value in rows}


def repeats(
    connection: Connection, *, begins_at: datetime | None = None, client_id: str | None = None
) -> tuple[int, int]:
    """How many attempts went out from that instant on although an earlier one's fate was unknown, and how many of them
    may have been charged: all but those with which the provider provably did nothing."""
    charged = case((Attempt.evidence.in_(sorted(RESENDABLE)), 0), else_=1)
    statement: Any = select(func.count(), func.coalesce(func.sum(charged), 0)).select_from(Attempt).where(REPEATS)
    if begins_at is not None:
        statement = statement.where(Attempt.sent_at >= begins_at)
    if client_id is not None:
        statement = statement.join(Job, Job.track_id == Attempt.track_id).where(is_of(client_id))
    sent, possible = connection.execute(statement).one()
    return int(sent), int(possible)


def _floor(instant: datetime, span_s: int) -> datetime:
    return instant - (instant - EPOCH) % timedelta(seconds=span_s)


def _ceiling(instant: datetime, span_s: int) -> datetime:
    return instant + (EPOCH - instant) % timedelta(seconds=span_s)
