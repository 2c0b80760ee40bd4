"""Erasing jobs, the doing of it: out of the rows, the files and the archive, and asking the provider for the same.

Every step may be repeated, and each is committed before the next, so that a worker may die at any point. No erasure
waits for what another one waits for: its own bytes, its own copies at the provider. What came late, a spooled callback
or a picture under way, is taken out by whoever brings it: it finds the mark.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Row

from webhook_app.domain.erasure import ProviderCopy, worst
from webhook_app.domain.errors import StorageError
from webhook_app.flows import erase, removal, spool
from webhook_app.flows.apart import each_apart
from webhook_app.flows.recall import NotYet, recall
from webhook_app.pictures.port import THUMBNAIL_SIZES
from webhook_app.provider.port import Provider
from webhook_app.storage.port import Spool, Storage
from webhook_app.store import attempts, batches, blobs, callbacks, deliveries, erasures, idempotency, images, jobs
from webhook_app.store import log as sealed_log
from webhook_app.store.engine import Store

# Longer than a whole batch takes, the provider's silence included.
HELD = timedelta(minutes=15)
LOOK_AGAIN, LOOK_MOST = timedelta(seconds=2), timedelta(minutes=1)
# A provider that is silent must not hold up what is to be done here: the others are asked in the next round.
ASK_FOR = timedelta(seconds=60)

log = structlog.get_logger(__name__)


def forget_due(
    store: Store,
    providers: Mapping[str, Provider],
    *,
    storage: Storage,
    kept: Spool,
    limit: int,
    clock: Callable[[], datetime],
) -> int:
    """Go on with erasures that are due, at most `limit`, and remove bytes that no picture shows. Returns how many it
    were together. What one of them raises is raised when the others are done."""
    with store.writing() as connection:
        now = clock()
        if erasures.is_any_due(connection, now=now):
            # A sealer that looked at a job before it was marked may be about to make a delivery of it.
            sealed_log.wait_for_sealer(connection)
        due = erasures.claim(connection, limit=limit, put_off_until=now + HELD, now=now)
    many = [row for row in due if row.track_id is None]
    ones = [row for row in due if row.track_id is not None]
    acts: list[Callable[[], int]] = [
        lambda: each_apart(many, lambda erasure: _go_on_with_many(store, erasure, clock)),
        lambda: _go_on_with_ones(store, providers, ones, storage=storage, kept=kept, clock=clock),
        lambda: removal.remove_unreferenced(store, storage, clock=clock).count,
    ]
    return each_apart(acts, lambda act: act())


def _go_on_with_many(store: Store, erasure: Row[Any], clock: Callable[[], datetime]) -> int:
    """Mark what the filter finds, in batches: from then on its words are not needed. Done when the last job is."""
    while erasure.filter is not None:
        with store.writing() as connection:
            if not erase.mark_next(connection, erasure, now=clock()):
                erasures.save(connection, erasure.erasure_id, filter=None)
                break
    with store.writing() as connection:
        if erasures.is_any_unfinished(connection, erasure.erasure_id):
            erasures.save(connection, erasure.erasure_id, due_at=_next_look(erasure, clock()))
        else:
            copies = erasures.copies_below(connection, erasure.erasure_id)
            erasures.finish(connection, erasure.erasure_id, provider_copy=worst(copies), now=clock())
    return 1


def _go_on_with_ones(
    store: Store,
    providers: Mapping[str, Provider],
    ones: Sequence[Row[Any]],
    *,
    storage: Storage,
    kept: Spool,
    clock: Callable[[], datetime],
) -> int:
    """First everything that is here, of all of them; then the provider's copies. One that was not taken out of the rows
    is due again when its hold ends."""
    if not ones:
        return 0
    taken: dict[str, list[str]] = {}
    emptied = _take_out_of_spool(store, kept)

    def take_out(one: Row[Any]) -> int:
        taken[one.erasure_id] = _take_out_of_rows(store, one, clock())
        return 1

    def remove() -> int:
        digests = {digest for each in taken.values() for digest in each}
        return removal.remove_unreferenced(store, storage, clock=clock, among=digests).count if digests else 0

    def finish() -> int:
        hidden = store.truncate_log()
        _finish_in_time(store, providers, taken, emptied=emptied and hidden, clock=clock)
        store.truncate_log()  # The ids by which the provider was asked have gone last.
        return 0

    acts: list[Callable[[], int]] = [lambda: each_apart(ones, take_out), remove, finish]
    return each_apart(acts, lambda act: act())


def _take_out_of_spool(store: Store, kept: Spool) -> bool:
    """Of this machine; the others do so each minute. False where it has to be tried again."""
    try:
        spool.drain(store, kept)
        spool.scrub(store, kept)
    except StorageError as error:
        log.error("spool.failed", error=str(error))
        return False
    return True


def _take_out_of_rows(store: Store, erasure: Row[Any], now: datetime) -> list[str]:
    """Returns the digests of the bytes that have to go before the erasure is done."""
    track_id = erasure.track_id
    with store.writing() as connection:
        job = jobs.lock(connection, [track_id])[track_id]
        callbacks.erase_of(connection, track_id, now=now)
        attempts.erase(connection, track_id)
        gone_with_it = job.batch_id if batches.is_erased(connection, job.batch_id) else None
        idempotency.erase(connection, track_id=track_id, batch_id=gone_with_it)
        deliveries.erase(connection, track_id, now=now)
        shown, putting = images.erase(connection, track_id)
        blobs.lock(connection, {*shown, *putting})
        gone = blobs.let_go(connection, shown)
        blobs.expect(connection, putting, thumbnails=THUMBNAIL_SIZES, now=now)
        jobs.erase(connection, job)
        before = erasures.of_job(connection, track_id)
        digests = sorted({*(before.digests if before else ()), *gone, *putting})
        erasures.save(connection, erasure.erasure_id, digests=digests)
    return digests


def _finish_in_time(
    store: Store,
    providers: Mapping[str, Provider],
    erasure_ids: Collection[str],
    *,
    emptied: bool,
    clock: Callable[[], datetime],
) -> None:
    started = time.monotonic()

    def finish(erasure_id: str) -> int:
        if time.monotonic() - started > ASK_FOR.total_seconds():
            _put_off(store, erasure_id, clock() + LOOK_AGAIN)
        else:
            _finish(store, providers, erasure_id, emptied=emptied, clock=clock)
        return 1

    each_apart(erasure_ids, finish)


def _finish(
    store: Store, providers: Mapping[str, Provider], erasure_id: str, *, emptied: bool, clock: Callable[[], datetime]
) -> None:
    """Ask the provider for what nobody has asked yet, and be done when there is an answer to everything, or no hope of
    one. `emptied` False: the spool or the database's own log may still hold what was taken out."""
    now = clock()
    with store.reading() as connection:
        erasure = erasures.get(connection, erasure_id)
        if erasure is None or erasure.completed_at is not None:
            return
        job = jobs.get(connection, erasure.track_id)
        sent = attempts.of_job(connection, erasure.track_id)
        left = blobs.left(connection, erasure.digests)
    if job is None or left or not emptied:
        tries = max((row.remove_tries for row in left), default=0)
        _put_off(store, erasure_id, now + removal.again_after(tries) if tries else _next_look(erasure, now))
        return
    waiting: list[NotYet] = []
    for attempt in sent:
        if str(attempt.n) not in erasure.copies:
            found = recall(providers[job.provider], job.model, attempt, tries=erasure.provider_tries, now=now)
            if isinstance(found, NotYet):
                waiting.append(found)
            else:
                _note(store, erasure, attempt, found)
    if waiting:
        _wait(store, erasure, waiting)
    else:
        _end(store, erasure, clock())


def _note(store: Store, erasure: Row[Any], attempt: Row[Any], copy: ProviderCopy) -> None:
    """What became of one attempt's copy. Nobody is to be asked about it any more, so its id goes."""
    with store.writing() as connection:
        jobs.lock(connection, [erasure.track_id])
        erasures.note_copy(connection, erasure.erasure_id, attempt.n, copy)
        attempts.forget_id(connection, erasure.track_id, attempt.n)


def _wait(store: Store, erasure: Row[Any], waiting: Sequence[NotYet]) -> None:
    tries = erasure.provider_tries + any(found.silent for found in waiting)
    due_at = min(found.again_at for found in waiting)
    with store.writing() as connection:
        erasures.save(connection, erasure.erasure_id, provider_tries=tries, due_at=due_at)


def _end(store: Store, erasure: Row[Any], now: datetime) -> None:
    with store.writing() as connection:
        jobs.lock(connection, [erasure.track_id])
        found = erasures.get(connection, erasure.erasure_id)
        copies = [ProviderCopy(word) for word in found.copies.values()] if found is not None else []
        erasures.finish(connection, erasure.erasure_id, provider_copy=worst(copies), now=now)


def _put_off(store: Store, erasure_id: str, until: datetime) -> None:
    with store.writing() as connection:
        erasures.save(connection, erasure_id, due_at=until)


def _next_look(erasure: Row[Any], now: datetime) -> datetime:
    """The longer it has taken, the longer it may take."""
    waited: timedelta = now - erasure.requested_at
    return now + min(max(waited / 4, LOOK_AGAIN), LOOK_MOST)
