"""Counters by minute, hour and day, and since the beginning, folded from the events that the sealer numbers. It is
their only writer, so each event counts exactly once."""

from collections import Counter
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, select

from webhook_app.domain.counting import DURATIONS, LATE, MEASURED, TOOK, counted
from webhook_app.store.bulk import AddMany, table_of
from webhook_app.store.tables import CounterRow

MINUTE, HOUR, DAY, EVER = 60, 3_600, 86_400, 0
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KEPT = {MINUTE: timedelta(days=2), HOUR: timedelta(days=32)}
AT_ONCE = 60  # Buckets that one pruning deletes at most.
COUNTERS = table_of(CounterRow)
KEY = ("client_id", "span_s", "bucket_at", "name", "cell")


def _add_up(insert: Any) -> Any:
    added = {"value": COUNTERS.c.value + insert.excluded.value}
    return insert.on_conflict_do_update(index_elements=[COUNTERS.c[name] for name in KEY], set_=added)


ADD_UP = AddMany(COUNTERS, columns=[*KEY, "value"], finish=_add_up)


def folded(events: Iterable[Any], *, late: Collection[int] = ()) -> list[dict[str, Any]]:
    """What these events (`position, type, client_id, created_at, data`) add up to, a row for each counter of each span.
    `late` are the positions of callbacks that came after their job's end was known."""
    minutes: Counter[tuple[str, str, int, int]] = Counter()
    for event in events:
        minute = int(event.created_at.timestamp()) // MINUTE * MINUTE
        for name, cell, amount in counted(event.type, event.data if event.type in MEASURED else None):
            whose = "" if name.startswith(TOOK) else event.client_id or ""  # The provider is one for all.
            minutes[whose, name, cell, minute] += amount
        if event.position in late:
            minutes[event.client_id or "", LATE, 0, minute] += 1
    sums: Counter[tuple[str, int, int, str, int]] = Counter()
    for (client_id, name, cell, minute), amount in minutes.items():
        recent = name.startswith(TOOK)
        for span_s in (MINUTE, HOUR) if recent else (MINUTE, HOUR, DAY):
            sums[client_id, span_s, minute // span_s * span_s, name, cell] += amount
        if name not in DURATIONS and not recent:
            sums[client_id, EVER, 0, name, cell] += amount
    return [_row(key, value) for key, value in sums.items()]


def _row(key: tuple[str, int, int, str, int], value: int) -> dict[str, Any]:
    client_id, span_s, bucket, name, cell = key
    bucket_at = EPOCH + timedelta(seconds=bucket)
    return {
        "client_id": client_id,
        "span_s": span_s,
        "bucket_at": bucket_at,
        "name": name,
        "cell": cell,
        "value": value,
    }


def prune(connection: Connection, *, now: datetime) -> int:
    """Delete some of the oldest minutes and hours that no window needs any more. Returns how many rows went."""
    deleted = 0
    for span_s, kept in KEPT.items():
        oldest = connection.scalar(select(func.min(CounterRow.bucket_at)).where(CounterRow.span_s == span_s))
        if oldest is None or oldest >= now - kept:
            continue
        end = min(oldest + AT_ONCE * timedelta(seconds=span_s), now - kept)
        old = delete(CounterRow).where(CounterRow.span_s == span_s, CounterRow.bucket_at < end)
        deleted += connection.execute(old).rowcount
    return deleted
