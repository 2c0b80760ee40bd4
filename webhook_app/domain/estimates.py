"""How long the provider takes, learned from the jobs of the last day: by how many pictures of which size.

What is counted is the span from a submit to its success, where a callback or the submit's own answer told it: what a
poll has found was ready before, and to poll later because of it would make the next look later still.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil, log2
from typing import Any, NamedTuple

from webhook_app.domain.durations import percentile

# The newest so many jobs of a kind are looked at, and all of the last minutes: a change of speed is followed at once
# where much is made, and one job that hangs decides nothing where little is.
LEAST_JOBS = 10
ALL_OF = timedelta(minutes=10)
LOOKED_BACK = timedelta(days=1)
SMALLEST_SIDE = 256
USUAL_SIDE = 512
SOONEST_S, LATEST_S = 1, 60
ANY = "any"


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds from a submit to the news of its success: half of the jobs take at most `usual_s`, nine of ten at most
    `late_s`. Within 9 %."""

    usual_s: float
    late_s: float


class Counted(NamedTuple):
    """So many jobs of this kind, counted in this cell (`durations`), in the bucket of time that begins then."""

    kind: str
    cell: int
    jobs: int
    begins_at: datetime


def kind_of(input: Mapping[str, Any], samples: int) -> str:
    """The kind of work that a job is: its pictures' number, and their size to the nearest power of two."""
    pixels = (input.get("width") or USUAL_SIDE) * (input.get("height") or USUAL_SIDE)
    return f"{samples}x{max(round(log2(pixels / SMALLEST_SIDE**2)), 0)}"


@dataclass(frozen=True, slots=True)
class History:
    """What was learned, by kind; `ANY` is all kinds together."""

    estimates: Mapping[str, Estimate] = field(default_factory=dict)

    def of(self, kind: str) -> Estimate | None:
        """What to expect; of all kinds where too few of this one were made, None where too few were made at all."""
        return self.estimates.get(kind) or self.estimates.get(ANY)


def learned(counted: Iterable[Counted], *, now: datetime) -> History:
    """The history out of the counts of the last day, in any order."""
    by_kind: dict[str, list[Counted]] = {}
    for each in sorted(counted, key=lambda each: each.begins_at, reverse=True):
        for kind in (each.kind, ANY):
            by_kind.setdefault(kind, []).append(each)
    found = {kind: _estimate(newest_first, now) for kind, newest_first in by_kind.items()}
    return History({kind: estimate for kind, estimate in found.items() if estimate is not None})


def _estimate(newest_first: Iterable[Counted], now: datetime) -> Estimate | None:
    cells: dict[int, int] = {}
    jobs, bucket = 0, now
    for each in newest_first:
        enough = jobs >= LEAST_JOBS and each.begins_at < now - ALL_OF
        if enough and each.begins_at != bucket:  # A bucket counts whole or not at all.
            break
        cells[each.cell] = cells.get(each.cell, 0) + each.jobs
        jobs, bucket = jobs + each.jobs, each.begins_at
    usual_s, late_s = percentile(cells, 50), percentile(cells, 90)
    if jobs < LEAST_JOBS or usual_s is None or late_s is None:
        return None
    return Estimate(usual_s, late_s)


def running_ready_at(
    sent_at: datetime | None, estimate: Estimate | None, eta_s: float | None, *, now: datetime
) -> datetime | None:
    """When a job that is with the provider since `sent_at` will be ready: as half of its kind are, then as nine of ten
    are. Without history the provider's word. None when that is past."""
    if sent_at is None:
        return None
    spans = [eta_s] if estimate is None else [estimate.usual_s, estimate.late_s]
    ahead = (sent_at + timedelta(seconds=span) for span in spans if span is not None)
    return next((at for at in ahead if at > now), None)


def queued_ready_at(
    begins_at: datetime, position: int | None, estimate: Estimate | None, everyone: Estimate | None, *, slots: int
) -> datetime | None:
    """When a job that is not sent before `begins_at` will be ready: as many as stand before it and itself have to find
    a slot, and one comes free whenever a job of any kind is ready. None without history or place."""
    if estimate is None or everyone is None or position is None:
        return None
    turn_s = position * everyone.usual_s / slots
    return begins_at + timedelta(seconds=turn_s + estimate.usual_s)


def begun_ready_at(sent_at: datetime | None, estimate: Estimate | None, *, now: datetime) -> datetime | None:
    """As `running_ready_at`, for who does not know more: a job that is not sent is taken as sent now."""
    return running_ready_at(sent_at or now, estimate, None, now=now)


def look_again_after_s(ready_at: datetime | None, *, now: datetime, otherwise: int) -> int:
    """A `Retry-After` in seconds: when it will be ready, within a minute; `otherwise` where nobody knows."""
    if ready_at is None:
        return otherwise
    return min(max(ceil((ready_at - now).total_seconds()), SOONEST_S), LATEST_S)
