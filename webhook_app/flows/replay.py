"""A callback on record, sent through today's parser again: for real, or to see what would change.

What was read wrongly, or came for a job that was not there, is put right here. An old callback says nothing about how
the provider is now, so a replay never pauses it.
"""

from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from webhook_app.domain.advance import Verdict
from webhook_app.domain.errors import Erased, NotFound
from webhook_app.domain.events import Event, EventType
from webhook_app.domain.outcome import Witness
from webhook_app.flows.apart import each_apart
from webhook_app.flows.apply import decide_all
from webhook_app.flows.ledger import Ledger, Report
from webhook_app.flows.policy import Policy
from webhook_app.flows.receive import EVENT_OF, Judged, arrival_from, judge, subjects
from webhook_app.provider.port import Provider
from webhook_app.store import callbacks, jobs
from webhook_app.store.engine import Store
from webhook_app.store.jobs import NOBODY, Home

TOOK_EFFECT = frozenset({Verdict.APPLIED, Verdict.OVERTAKEN, Verdict.LATE})
JOB_COLUMNS = ("status", "archive_status", "error")


@dataclass(frozen=True, slots=True)
class Change:
    """A value before and after."""

    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the job that gets other sources."""

    image_id: str
    index: int


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay changed, or would change. `job` has `status`, `archive_status` and `error`, and is None where there
    is no job; `events` counts by type what is written to the log."""

    callback_id: str
    track_id: str
    attempt: int
    dry_run: bool
    changed: bool
    verdict: Change
    problem: Change
    job: dict[str, Change] | None
    images: list[Picture]
    events: dict[str, int]


def replay(
    store: Store,
    callback_id: str,
    providers: Mapping[str, Provider],
    *,
    by: str,
    dry_run: bool,
    policy: Policy,
    now: datetime,
) -> Replay:
    """Read a stored callback again and apply it in one transaction, which `dry_run` rolls back. Again: changes nothing.
    `by` is the actor of its event. Raises `NotFound`, and `Erased` where the body is gone."""
    with store.reading() as connection:
        row = callbacks.get(connection, callback_id)
    judged = judge(arrival_from(_readable(row)), providers)
    transaction: AbstractContextManager[Connection] = store.trying() if dry_run else store.writing()
    with transaction as connection:
        locked = jobs.lock(connection, subjects([judged]))  # Before the callback, as everywhere.
        row = _readable(callbacks.lock(connection, callback_id))
        done = _replay(connection, row, judged, by=by, dry_run=dry_run, policy=policy, now=now)
        named = locked.get(judged.names_track_id or "")
        if named is not None and named.erased_at is not None:
            # What it says of that job should have gone with it, but nobody knew then that it names it.
            callbacks.erase(connection, [(row.track_id, row.attempt, row.sha256)])
        return done


def adopt(store: Store, providers: Mapping[str, Provider], *, limit: int, policy: Policy, now: datetime) -> int:
    """Apply orphans whose attempt is there by now, at most `limit`: after a restore from a backup a job is known again
    once it is sent again. Returns how many."""
    with store.reading() as connection:
        found = callbacks.adoptable(connection, limit=limit)

    def apply_now(callback_id: str) -> int:
        return replay(store, callback_id, providers, by="worker", dry_run=False, policy=policy, now=now).changed

    return each_apart(found, apply_now)


def _readable(row: Row[Any] | None) -> Row[Any]:
    if row is None:
        raise NotFound("There is no such callback.")
    if row.body is None:
        raise Erased("This callback has been erased with its job.")
    return row


def _replay(
    connection: Connection, row: Row[Any], judged: Judged, *, by: str, dry_run: bool, policy: Policy, now: datetime
) -> Replay:
    before = jobs.lock(connection, [row.track_id]).get(row.track_id)
    reports = [Report(row.track_id, row.attempt, Witness.CALLBACK, judged.outcome)] if judged.outcome else []
    ledger = Ledger(connection, reports)
    sources = {image["image_id"]: image["sources"] for image in _images(ledger, row)}
    decided = decide_all(ledger, reports, policy=policy, now=now)
    verdict = _verdict(row, decided[0] if decided else judged.verdict or Verdict.UNREADABLE)
    settled = row.applied_at is not None and (row.verdict, row.problem) == (verdict, judged.problem)
    changed = not settled or bool(ledger.changed_jobs or ledger.changed_attempts or ledger.changed_images)
    if changed:
        home = Home(before.client_id, before.batch_id) if before else NOBODY
        ledger.events.insert(0, _event(row, verdict, home, by, now))
        ledger.write(connection, now=now)
        callbacks.settle_again(
            connection,
            row.callback_id,
            verdict=verdict.value,
            problem=judged.problem,
            names_track_id=judged.names_track_id,
            now=now,
        )
    gained = [image for image in _images(ledger, row) if image["sources"] != sources[image["image_id"]]]
    return Replay(
        callback_id=row.callback_id,
        track_id=row.track_id,
        attempt=row.attempt,
        dry_run=dry_run,
        changed=changed,
        verdict=Change(row.verdict, verdict.value),
        problem=Change(row.problem, judged.problem),
        job=None if before is None else _job(before, ledger.jobs.get(row.track_id)),
        images=[Picture(image["image_id"], image["index"]) for image in gained],
        events=dict(Counter(event.type.value for event in ledger.events)),
    )


def _images(ledger: Ledger, row: Row[Any]) -> list[dict[str, Any]]:
    return list(ledger.images.get(row.track_id, {}).values())


def _verdict(row: Row[Any], today: Verdict) -> Verdict:
    """What was applied once is found in place today: that is its own effect, and no other verdict."""
    return Verdict(row.verdict) if today is Verdict.REPEATED and row.verdict in TOOK_EFFECT else today


def _event(row: Row[Any], verdict: Verdict, home: Home, by: str, now: datetime) -> Event:
    kind = EVENT_OF.get(verdict, EventType.CALLBACK_RECEIVED)
    data = {"attempt": row.attempt, "verdict": verdict.value, "sha256": row.sha256, "replayed": row.callback_id}
    return Event(kind, by, now, row.track_id, *home, data=data)


def _job(before: Row[Any], after: dict[str, Any] | None) -> dict[str, Change]:
    was = before._mapping
    return {name: Change(was[name], (after or was)[name]) for name in JOB_COLUMNS}
