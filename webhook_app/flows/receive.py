"""Callbacks in: read and judged before the transaction, then the raw rows and their effects in one commit.

What cannot be applied is kept raw with `applied_at` null, and a worker's tick takes it up (design.md, decision 2).
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from webhook_app.domain.advance import Verdict
from webhook_app.domain.events import Event, EventType
from webhook_app.domain.ids import new_id
from webhook_app.domain.outcome import Outcome, Witness
from webhook_app.flows.apply import decide_all
from webhook_app.flows.ledger import Ledger, Report
from webhook_app.flows.policy import Policy
from webhook_app.provider.port import Provider
from webhook_app.store import callbacks, events, jobs
from webhook_app.store.engine import Store
from webhook_app.store.jobs import NOBODY, Home

APPLY_FIRST_AFTER = timedelta(seconds=5)
APPLY_AGAIN_AFTER = timedelta(seconds=60)
# A provider may send our callback URL back, with its slashes escaped or not; its token is not kept.
CALLBACK_TOKEN = re.compile(rb"(callbacks\\?/[a-z0-9]+\\?/[0-9a-f-]{36}\\?/[0-9]{1,6}\.)[A-Za-z0-9_-]{22}")
EVENT_OF = {
    Verdict.ORPHANED: EventType.CALLBACK_ORPHANED,
    Verdict.UNREADABLE: EventType.CALLBACK_IGNORED,
    Verdict.MISMATCHED: EventType.CALLBACK_IGNORED,
    Verdict.CANCELED: EventType.CALLBACK_IGNORED,
    Verdict.ERASED: EventType.CALLBACK_IGNORED,
}
TRACK_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_not_text = re.compile(r"[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A callback with a good token. `body` is what came, without our secrets (`without_secrets`); `headers` are the few
    that we keep; `attempt` is the token's."""

    provider: str
    track_id: str
    attempt: int
    body: bytes
    content_type: str | None
    headers: dict[str, str]
    remote_addr: str | None
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Judged:
    """An arrival with its reading: an outcome to apply, or else the verdict that it ends with. `names_track_id` is the
    other job that the body speaks of, where it does: what it says of that one goes when that one is erased."""

    arrival: Arrival
    sha256: str
    outcome: Outcome | None
    verdict: Verdict | None
    problem: str | None
    names_track_id: str | None = None


def receive(
    store: Store, arrivals: Sequence[Arrival], providers: Mapping[str, Provider], now: datetime, policy: Policy
) -> list[Verdict]:
    """Keep and apply callbacks in one transaction; all are on record when this returns, with a verdict for each.
    Raises `DatabaseUnavailable`; after any other exception the caller goes one by one, and then calls `keep_raw`."""
    judged = [judge(arrival, providers) for arrival in arrivals]
    with store.writing() as connection:
        return _apply(connection, judged, policy, now)


def without_secrets(body: bytes, provider: Provider) -> bytes:
    """The body as it may be kept: a provider may send our key or the callback's own address back to us. Pure."""
    return CALLBACK_TOKEN.sub(rb"\1***", provider.redact(body))


def keep_raw(store: Store, arrivals: Sequence[Arrival], *, problem: str) -> None:
    """Put callbacks on record without looking at them: a worker's tick applies them later."""
    with store.writing() as connection:
        callbacks.keep(connection, [_row(_unread(arrival, problem=problem)) for arrival in arrivals])


def apply_stored(store: Store, providers: Mapping[str, Provider], *, limit: int, policy: Policy, now: datetime) -> int:
    """Apply callbacks that were kept raw, at most `limit`. Returns how many. One that fails raises, and has been put
    off before, so that it does not hold up the others."""
    for done in range(limit):
        with store.writing() as connection:
            row = callbacks.claim_unapplied(connection, put_off_until=now + APPLY_AGAIN_AFTER, now=now)
            erased = row is not None and jobs.is_erased(connection, row.track_id)
        if row is None:
            return done
        # A body of an erased job is not looked at: should it not be readable, it would come again and again.
        arrival = arrival_from(row)
        item = _unread(arrival, verdict=Verdict.ERASED) if erased else judge(arrival, providers)
        with store.writing() as connection:
            jobs.lock(connection, subjects([item]))  # Before the callback, and all that `_apply` locks at once.
            if callbacks.lock_unapplied(connection, row.callback_id):
                _apply(connection, [item], policy, now, on_record=True)
        if erased:
            store.truncate_log()
    return limit


def judge(arrival: Arrival, providers: Mapping[str, Provider]) -> Judged:
    """Read a body; pure. The URL's track_id wins: a body that names another job is kept, marked and not applied."""
    sha256 = hashlib.sha256(arrival.body).hexdigest()
    reading = providers[arrival.provider].read_callback(arrival.body, arrival.content_type)
    names = (reading.names_track_id or arrival.track_id).lower()
    other = names if names != arrival.track_id and TRACK_ID.fullmatch(names) else None
    if reading.outcome is None:
        return Judged(arrival, sha256, None, Verdict.UNREADABLE, _clean(reading.problem), other)
    if names != arrival.track_id:
        return Judged(arrival, sha256, None, Verdict.MISMATCHED, "the body names another track_id", other)
    return Judged(arrival, sha256, reading.outcome, None, _clean(reading.problem))


def _unread(arrival: Arrival, *, verdict: Verdict | None = None, problem: str | None = None) -> Judged:
    """An arrival whose body is not looked at."""
    return Judged(arrival, hashlib.sha256(arrival.body).hexdigest(), None, verdict, problem)


def _clean(text: str | None) -> str | None:
    return None if text is None else _not_text.sub("\ufffd", text)[:500]


def _apply(
    connection: Connection, judged: Sequence[Judged], policy: Policy, now: datetime, *, on_record: bool = False
) -> list[Verdict]:
    """Decide, and write what follows; locks jobs, then callbacks. What has just come is put on record here. Where its
    attempt is in the ledger it is guarded: the job's lock keeps others from applying it until we commit, so that
    `ledger.applied` stays true and one write with the verdict is enough. Of the rest only the insert's conflict tells
    whether somebody has applied it: inserted raw, settled at the end. `on_record`: the caller has locked the jobs and
    the callback, and nobody has applied it."""
    erased = _erased_among(connection, judged)
    readable = [(item, item.outcome) for item in judged if item.outcome is not None]
    reports = [Report(i.arrival.track_id, i.arrival.attempt, Witness.CALLBACK, outcome) for i, outcome in readable]
    ledger = Ledger(connection, reports)
    guarded: set[callbacks.Key] = set()
    if on_record:
        untold = {_key(item) for item in judged}
    else:
        guarded = {_key(item) for item, _ in readable if _key(item)[:2] in ledger.attempts}
        raw = callbacks.keep(connection, [_row(item) for item in judged if _key(item) not in guarded])
        untold = (guarded - ledger.applied) | raw  # No event tells of these yet.

    def announce(place: int, verdict: Verdict, home: Home | None) -> Event | None:
        return _event(readable[place][0], verdict, home, untold, now)

    decided = iter(decide_all(ledger, reports, policy=policy, now=now, announce=announce))
    pairs = [(item, next(decided) if item.outcome is not None else _unapplied(item, erased)) for item in judged]
    received = [_row(item) | _settled(item, verdict, now) for item, verdict in pairs if _key(item) in guarded]
    # The first of doubles decides: of those received in `callbacks.folded`, of the others here.
    first = {_key(i): _settled(i, verdict, now) for i, verdict in reversed(pairs) if _key(i) not in guarded}
    ledger.write(connection, received=received, settled=list(first.values()), now=now)
    gone = {_key(item) for item, verdict in pairs if verdict is Verdict.ERASED or item.names_track_id in erased}
    if gone:
        callbacks.erase(connection, sorted(gone))
    _tell_unapplied(connection, [(item, verdict) for item, verdict in pairs if item.outcome is None], untold, now)
    return [verdict for _, verdict in pairs]


def _erased_among(connection: Connection, judged: Sequence[Judged]) -> set[str]:
    """Which jobs are erased, of those whose callbacks will not be applied and those that such a body names. All are
    locked, so that no body slips in behind the erasing; and the others with them, because there is one order for
    all."""
    if all(item.outcome is not None for item in judged):
        return set()
    locked = jobs.lock(connection, subjects(judged))
    return {track_id for track_id, row in locked.items() if row.erased_at is not None}


def subjects(judged: Sequence[Judged]) -> list[str]:
    """The jobs whose callbacks these are, and those that they name, in the order in which they are locked."""
    named = {item.names_track_id for item in judged if item.names_track_id is not None}
    return sorted({item.arrival.track_id for item in judged} | named)


def _unapplied(item: Judged, erased: set[str]) -> Verdict:
    return Verdict.ERASED if item.arrival.track_id in erased else item.verdict or Verdict.UNREADABLE


def _tell_unapplied(
    connection: Connection, pairs: Sequence[tuple[Judged, Verdict]], untold: set[callbacks.Key], now: datetime
) -> None:
    homes = jobs.homes(connection, [item.arrival.track_id for item, _ in pairs])
    told = [_event(item, verdict, homes.get(item.arrival.track_id), untold, now) for item, verdict in pairs]
    events.append(connection, [event for event in told if event is not None])


def _key(item: Judged) -> callbacks.Key:
    return item.arrival.track_id, item.arrival.attempt, item.sha256


def _row(item: Judged) -> dict[str, Any]:
    arrival = item.arrival
    return {
        "callback_id": new_id("cb"),
        "provider": arrival.provider,
        "track_id": arrival.track_id,
        "names_track_id": item.names_track_id,
        "attempt": arrival.attempt,
        "sha256": item.sha256,
        "times_seen": 1,
        "body": arrival.body,
        "content_type": _clean(arrival.content_type),
        "headers": {name: _clean(value) for name, value in arrival.headers.items()},
        "remote_addr": arrival.remote_addr,
        "verdict": None,
        "problem": item.problem,
        "applied_at": None,
        "retry_at": arrival.received_at + APPLY_FIRST_AFTER,
        "received_at": arrival.received_at,
        "last_seen_at": arrival.received_at,
    }


def _settled(item: Judged, verdict: Verdict, now: datetime) -> dict[str, Any]:
    settled = {"verdict": verdict.value, "problem": item.problem, "applied_at": now, "retry_at": None}
    return dict(zip(callbacks.KEY, _key(item), strict=True)) | settled | {"names_track_id": item.names_track_id}


def _event(
    item: Judged, verdict: Verdict, home: Home | None, untold: set[callbacks.Key], now: datetime
) -> Event | None:
    """One event for each callback, as it is applied; it is taken out of `untold`, for a batch may hold its double."""
    if _key(item) not in untold:
        return None
    untold.discard(_key(item))
    kind = EVENT_OF.get(verdict, EventType.CALLBACK_RECEIVED)
    data = {"attempt": item.arrival.attempt, "verdict": verdict.value, "sha256": item.sha256}
    return Event(kind, "provider", now, item.arrival.track_id, *(home or NOBODY), data=data)


def arrival_from(row: Any) -> Arrival:
    """A callback on record as it arrived."""
    return Arrival(
        provider=row.provider,
        track_id=row.track_id,
        attempt=row.attempt,
        body=row.body or b"",
        content_type=row.content_type,
        headers=row.headers,
        remote_addr=row.remote_addr,
        received_at=row.received_at,
    )
