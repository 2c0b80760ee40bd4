"""What `/metrics` shows of the installation, read from the database when it is asked for. No label's value comes from
a request: they are our own words."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from sqlalchemy import Connection

from webhook_app.domain.advance import PROVIDER_WIDE
from webhook_app.domain.counting import BYTES_ARCHIVED, LATE, MISSED, RECOVERED
from webhook_app.domain.events import EventType
from webhook_app.domain.job import TERMINAL
from webhook_app.store import reads

OTHER = "other"  # An operator's own words are no label.
PAUSES = ("queue_full", *sorted(code.value for code in PROVIDER_WIDE), OTHER)
VERDICTS = {
    "received": EventType.CALLBACK_RECEIVED,
    "ignored": EventType.CALLBACK_IGNORED,
    "orphaned": EventType.CALLBACK_ORPHANED,
}


@dataclass(frozen=True, slots=True)
class Rules:
    """`slots` are the most jobs at once, by provider; `held_after` is how long an unconfirmed submit waits before it is
    on hold, None where none ever is."""

    slots: Mapping[str, int]
    held_after: timedelta | None


def gauge(name: str, meaning: str, value: float) -> Metric:
    """A gauge without labels."""
    return GaugeMetricFamily(f"webhook_app_{name}", meaning, value=value)


def gauges(name: str, meaning: str, label: str, values: Mapping[str, float]) -> Metric:
    """A gauge with one label."""
    family = GaugeMetricFamily(f"webhook_app_{name}", meaning, labels=[label])
    for word, value in values.items():
        family.add_metric([word], value)
    return family


def counters(name: str, meaning: str, label: str, values: Mapping[str, float]) -> Metric:
    """A counter with one label; `_total` is added to its name."""
    family = CounterMetricFamily(f"webhook_app_{name}", meaning, labels=[label])
    for word, value in values.items():
        family.add_metric([word], value)
    return family


def of_database(connection: Connection, rules: Rules, *, now: datetime) -> Iterator[Metric]:
    """Everything that all processes of the installation share."""
    yield from _jobs(connection, rules, now)
    yield from _providers(connection, rules, now)
    yield from _backlog(connection, now)
    yield from _ever(connection)


def _jobs(connection: Connection, rules: Rules, now: datetime) -> Iterator[Metric]:
    unfinished = {status.value: float(count) for status, count in reads.unfinished(connection).items()}
    yield gauges("unfinished_jobs", "Unfinished jobs.", "status", unfinished)
    age = _age(reads.oldest_queued(connection), now)
    yield gauge("queue_oldest_age_seconds", "Age of the job that has been queued for longest, 0 without any.", age)
    unconfirmed = reads.unconfirmed(connection)
    yield gauge("unconfirmed_jobs", "Jobs with a submit that nothing has confirmed.", unconfirmed.count)
    age = _age(unconfirmed.oldest, now)
    yield gauge("unconfirmed_oldest_age_seconds", "How long the oldest of them has been so, 0 without any.", age)
    held = 0 if rules.held_after is None else reads.unconfirmed(connection, before=now - rules.held_after).count
    yield gauge("jobs_on_hold", "Unconfirmed jobs that wait for somebody's decision.", held)


def _providers(connection: Connection, rules: Rules, now: datetime) -> Iterator[Metric]:
    rows = reads.providers(connection, rules.slots, now=now)
    used = {row["provider"]: float(row["slots_in_use"]) for row in rows}
    yield gauges("slots_in_use", "Jobs that are with the provider.", "provider", used)
    yield gauges("slots_max", "Jobs that may be with the provider at once.", "provider", rules.slots)
    family = GaugeMetricFamily("webhook_app_provider_paused", "1 while it is paused.", labels=["provider", "reason"])
    for row in rows:
        paused = row["paused_at"] is not None and (row["paused_until"] is None or row["paused_until"] > now)
        why = row["paused_reason"] if row["paused_reason"] in PAUSES else OTHER
        for reason in PAUSES:
            family.add_metric([row["provider"], reason], float(paused and reason == why))
    yield family


def _backlog(connection: Connection, now: datetime) -> Iterator[Metric]:
    pictures, unsealed = reads.pictures(connection), reads.unsealed(connection)
    yield gauge("pictures_pending", "Pictures that are not copied yet.", pictures.count)
    if pictures.oldest is not None:
        slack = -_age(pictures.oldest, now)
        yield gauge("pictures_slack_seconds", "Until the first of them is gone; absent without any.", slack)
    yield gauge("callbacks_unapplied", "Callbacks on record, not applied.", reads.unapplied(connection).count)
    due = reads.deliveries_due(connection, now=now)
    yield gauge(
        "deliveries_pending", "Webhooks that wait for a try, now or later.", reads.deliveries_pending(connection)
    )
    yield gauge("deliveries_due", "Those whose time has come.", due.count)
    yield gauge(
        "deliveries_oldest_due_age_seconds", "How late the oldest of them is, 0 without.", _age(due.oldest, now)
    )
    yield gauge(
        "receivers_open", "URLs that failed and are left alone for a while.", reads.receivers_open(connection, now=now)
    )
    yield gauge("endpoints_disabled", "Endpoints that get nothing.", reads.endpoints_disabled(connection))
    yield gauge("events_unsealed", "Events without a number.", unsealed.count)
    yield gauge("sealer_lag_seconds", "Age of the oldest of them, 0 without any.", _age(unsealed.oldest, now))
    heads = reads.heads_unarchived(connection).count
    yield gauge("log_heads_unarchived", "Signed heads of the log that are in the database alone.", heads)


def _ever(connection: Connection) -> Iterator[Metric]:
    """Since the installation began, from the same counters as `/v1/stats`."""
    ever = reads.totals_ever(connection)
    repeats, charges = reads.repeats(connection)
    ended = {status.value: float(ever.get(f"job.{status}", 0)) for status in sorted(TERMINAL)}
    yield counters("jobs", "Ends of jobs; a success after another end is a second one.", "status", ended)
    verdicts = {word: float(ever.get(kind, 0)) for word, kind in VERDICTS.items()}
    yield counters("callbacks", "Callbacks with a good token, doubles apart.", "verdict", verdicts)
    for name, meaning, value in (
        ("jobs_accepted", "Jobs taken.", ever.get(EventType.JOB_QUEUED, 0)),
        ("submits", "Requests sent to the provider.", ever.get(EventType.JOB_SUBMITTED, 0)),
        ("submits_unconfirmed", "Those of unknown fate.", ever.get(EventType.SUBMIT_UNCONFIRMED, 0)),
        ("submit_repeats", "Submits after one of unknown fate.", repeats),
        ("callbacks_missed", "Ends that no callback had told.", ever.get(MISSED, 0)),
        ("callbacks_recovered", "Ends that a poll told instead.", ever.get(RECOVERED, 0)),
        ("callbacks_late", "Callbacks that came after such an end.", ever.get(LATE, 0)),
        ("archived_bytes", "Bytes of archived pictures.", ever.get(BYTES_ARCHIVED, 0)),
    ):
        yield CounterMetricFamily(f"webhook_app_{name}", meaning, value=value)
    yield gauge("possible_double_charges", "Repeats that the provider may have charged too.", charges)


def _age(instant: datetime | None, now: datetime) -> float:
    return 0.0 if instant is None else (now - instant).total_seconds()
