"""`GET /metrics` in Prometheus' text format. It answers without the database too, with what this machine knows."""

import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from flask import Flask, Response, g
from flask.typing import ResponseReturnValue
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import Metric

from webhook_app.domain.errors import DatabaseUnavailable, StorageError
from webhook_app.domain.job import OnUnconfirmed, Scope
from webhook_app.store import reads
from webhook_app.store.listen import Wakeups
from webhook_app.web.auth import Authenticator
from webhook_app.web.callbacks import Refusals, refusals_of
from webhook_app.web.gauges import Rules, counters, gauge, gauges, of_database
from webhook_app.web.health import spool_state
from webhook_app.web.registry import Registry
from webhook_app.web.waiting import Waiting, waiting_of, wakeups_of
from webhook_app.wiring import MODELSLAB, Parts

PATIENCE_MS = 4_000


class Scrape:
    """The families of one answer, as the client library wants them."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """The page, open to everyone with `METRICS_PUBLIC=1`."""
    authenticator: Authenticator = app.extensions["authenticator"]
    refusals, waiting, wakeups = refusals_of(app), waiting_of(app, parts), wakeups_of(app, parts)

    def guard(scope: Scope) -> None:
        try:
            authenticator.guard(scope)
        except DatabaseUnavailable:
            # Nobody can check this key now. What is left to show without a database is what /readyz tells everyone.
            g.database_unseen = True

    @registry.route(
        app,
        "GET",
        "/metrics",
        scope=None if parts.settings.metrics_public else Scope.READ,
        guard=guard,
        summary="Metrics for Prometheus",
        answers={200: "text/plain"},
    )
    def get_metrics() -> ResponseReturnValue:
        """While the database is down: `webhook_app_database_up 0` and this machine's spool. What has
        a `pid` is each process's own; all the rest is the same from every process."""
        families = [*_database(parts, datetime.now(UTC)), *_spool(parts)]
        collectors = CollectorRegistry()
        collectors.register(Scrape([*families, *_process(refusals, waiting, wakeups)]))
        return Response(generate_latest(collectors), content_type=CONTENT_TYPE_LATEST)


def _process(refusals: Refusals, waiting: Waiting, wakeups: Wakeups) -> Iterator[Metric]:
    pid = str(os.getpid())
    yield counters("callbacks_refused", "Callbacks with a bad token, by process.", "pid", {pid: refusals.count})
    yield gauges("waiters", "Requests that wait for a change, by process.", "pid", {pid: waiting.count})
    meaning = "1 while no notifications of the database come through, by process: waiters are woken by the clock."
    yield gauges("notifications_lost", meaning, "pid", {pid: float(wakeups.deaf)})


def _database(parts: Parts, now: datetime) -> list[Metric]:
    found: list[Metric] = []
    if "database_unseen" not in g:
        try:
            with parts.store.reading() as connection:
                reads.give_up_after(connection, PATIENCE_MS)
                if reads.is_upgraded(connection):
                    found = list(of_database(connection, _rules(parts), now=now))
        except DatabaseUnavailable:
            found = []
    return [gauge("database_up", "1 while the database answers, and is not behind the code.", bool(found)), *found]


def _rules(parts: Parts) -> Rules:
    settings = parts.settings
    holds = settings.on_unconfirmed is OnUnconfirmed.HOLD
    return Rules(
        slots={MODELSLAB: settings.modelslab_max_in_flight},
        held_after=timedelta(seconds=settings.submit_confirm_s) if holds else None,
    )


def _spool(parts: Parts) -> Iterator[Metric]:
    state = spool_state(parts)
    yield gauge("spool_writable", "1 while this machine's spool can take callbacks.", state.writable)
    yield gauge("spool_entries", "Callbacks that wait in it for the database.", state.entries)
    try:
        yield gauge("spool_unreadable", "Torn, changed or refused ones that were set aside.", parts.spool.unreadable())
    except StorageError:
        return
