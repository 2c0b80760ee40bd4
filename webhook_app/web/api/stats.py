"""`GET /v1/stats`: what became of the caller's jobs in a window of time, from the counters."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated

from flask import Flask
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from webhook_app.domain.counting import BYTES_ARCHIVED, RECOVERED, Duration, lost, undone
from webhook_app.domain.durations import percentile
from webhook_app.domain.errors import InsufficientScope
from webhook_app.domain.events import EventType
from webhook_app.domain.job import TERMINAL, Scope, Status
from webhook_app.store import reads
from webhook_app.web import paging, reading
from webhook_app.web.auth import caller
from webhook_app.web.registry import Registry
from webhook_app.web.respond import json_response
from webhook_app.wiring import Parts

MINUTE_S, DAY_S, YEAR_S = 60, 86_400, 31_536_000


class StatsQuery(paging.Query):
    """Which jobs, and how far back."""

    window_s: Annotated[int, Field(ge=MINUTE_S, le=YEAR_S)] = DAY_S
    client_id: Annotated[str | None, Field(min_length=1, max_length=40, description="Scope admin only.")] = None


class StatusCounts(BaseModel):
    """The unfinished jobs of now, and the others by how they ended in the window; an end that a later success undid is
    taken back."""

    queued: int
    submitting: int
    processing: int
    succeeded: int
    failed: int
    canceled: int
    timed_out: int


class Percentiles(BaseModel):
    """Seconds, within 9 %; null where nothing was measured. `count` is how many were."""

    count: int
    p50: float | None
    p95: float | None
    p99: float | None


class Spans(BaseModel):
    """From accepted to first submit, from there to the success, from there to the last picture's copy."""

    queue_s: Percentiles
    generation_s: Percentiles
    archive_s: Percentiles


class CallbackCounts(BaseModel):
    """`received`: new ones that could be read, late and repeated ones included; a double counts once. `recovered`: ends
    that a poll told before any callback. `lost`: those and time-outs, where none has come since. `orphaned`
    ones belong to no client: only an admin's view over everyone has them."""

    received: int
    ignored: int
    orphaned: int
    lost: int
    recovered: int


class DeliveryCounts(BaseModel):
    """Webhooks whose time has come and that are not delivered, now, and since when the first of them waits."""

    due: int
    oldest_due_at: datetime | None


class Stats(BaseModel):
    """`client_id` null is everyone. `success_rate` is that of the jobs that ended otherwise than canceled, null without
    any."""

    window_s: int
    begins_at: datetime
    ends_at: datetime
    client_id: str | None
    counts: StatusCounts
    success_rate: float | None
    percentiles: Spans
    callbacks: CallbackCounts
    submits: int
    repeats_after_unconfirmed: int
    possible_double_charges: int
    bytes_archived: int
    deliveries: DeliveryCounts


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """The statistics."""

    @registry.route(
        app,
        "GET",
        "/v1/stats",
        scope=Scope.READ,
        summary="Statistics",
        query=StatsQuery,
        answers={200: Stats, 403: None, 422: None},
    )
    def get_stats() -> ResponseReturnValue:
        """Of the last `window_s` seconds. The window begins at a whole minute, beyond two days at a whole hour, beyond
        32 days at a whole day: `begins_at` tells. What has happened counts once the log has it numbered, which takes a
        worker some milliseconds."""
        asked = reading.query(StatsQuery)
        with parts.store.reading() as connection:
            found = _stats(connection, asked, client_id=_whose(asked), now=datetime.now(UTC))
        return json_response(found.model_dump())


def _whose(asked: StatsQuery) -> str | None:
    who = caller()
    if asked.client_id is not None and not who.is_admin and asked.client_id != who.client_id:
        raise InsufficientScope("Only an admin key sees another client's statistics.")
    return asked.client_id if who.is_admin else who.client_id


def _stats(connection: Connection, asked: StatsQuery, *, client_id: str | None, now: datetime) -> Stats:
    begins_at = reads.window_begins_at(now - timedelta(seconds=asked.window_s), now=now)
    totals = reads.totals(connection, begins_at=begins_at, client_id=client_id)
    repeats, charges = reads.repeats(connection, begins_at=begins_at, client_id=client_id)
    ended = {status: max(totals.sums[f"job.{status}"] - totals.sums[undone(status)], 0) for status in TERMINAL}
    due = reads.deliveries_due(connection, now=now, client_id=client_id)
    return Stats(
        window_s=asked.window_s,
        begins_at=begins_at,
        ends_at=now,
        client_id=client_id,
        counts=StatusCounts(**(reads.unfinished(connection, client_id=client_id) | ended)),
        success_rate=_success_rate(ended),
        percentiles=Spans(**{name.value: _percentiles(totals.cells[name]) for name in Duration}),
        callbacks=_callbacks(totals.sums),
        submits=totals.sums[EventType.JOB_SUBMITTED],
        repeats_after_unconfirmed=repeats,
        possible_double_charges=charges,
        bytes_archived=totals.sums[BYTES_ARCHIVED],
        deliveries=DeliveryCounts(due=due.count, oldest_due_at=due.oldest),
    )


def _success_rate(ended: Mapping[Status, int]) -> float | None:
    tried = sum(count for status, count in ended.items() if status is not Status.CANCELED)
    return round(ended[Status.SUCCEEDED] / tried, 4) if tried else None


def _percentiles(cells: Mapping[int, int]) -> Percentiles:
    found = (percentile(cells, percent) for percent in (50, 95, 99))
    p50, p95, p99 = (None if seconds is None else round(seconds, 3) for seconds in found)
    return Percentiles(count=sum(cells.values()), p50=p50, p95=p95, p99=p99)


def _callbacks(sums: Mapping[str, int]) -> CallbackCounts:
    return CallbackCounts(
        received=sums[EventType.CALLBACK_RECEIVED],
        ignored=sums[EventType.CALLBACK_IGNORED],
        orphaned=sums[EventType.CALLBACK_ORPHANED],
        lost=lost(sums),
        recovered=sums[RECOVERED],
    )
