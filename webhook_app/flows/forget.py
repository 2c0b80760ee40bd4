"""Erasing jobs, the doing of it: out of the rows, the files and the archive, and asking the provider for the same.

Every step may be repeated, and each is committed before the next, so that a worker may die at any point. What came
late, a spooled callback or a picture under way, is taken out by whoever brings it: it finds the mark.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row

from webhook_app.domain import schedule
from webhook_app.domain.erasure import ProviderCopy, worst
from webhook_app.domain.errors import StorageError
from webhook_app.domain.job import Evidence
from webhook_app.domain.keys import blob_key, thumbnail_key
from webhook_app.flows import erase, spool
from webhook_app.provider.port import Provider
from webhook_app.storage.port import Spool, Storage
from webhook_app.store import attempts, batches, blobs, callbacks, deliveries, erasures, idempotency, images, jobs, log
from webhook_app.store.engine import Store

# Longer than a whole batch takes, the provider's silence included.
HELD = timedelta(minutes=15)
LOOK_AGAIN = timedelta(seconds=2)
# An archiver that died leaves bytes behind that nobody shows; a living one needs less than its lease.
ABANDONED_AFTER = timedelta(minutes=10)
MOST_TRIES = 8
NOTHING_MADE = frozenset({Evidence.NOT_SENT, Evidence.DECLINED, Evidence.RETRYABLE, Evidence.PERMANENT})
UNDER_WAY = frozenset({Evidence.NONE, Evidence.RUNNING})


def forget_due(
    store: Store,
    providers: Mapping[str, Provider],
    *,
    storage: Storage,
    kept: Spool,
    limit: int,
    clock: Callable[[], datetime],
) -> int:
    """Go on with erasures that are due, at most `limit`. Returns how many. Raises `StorageError`: then they are due
    again later."""
    with store.writing() as connection:
        now = clock()
        if erasures.is_any_due(connection, now=now):
            # A sealer that looked at a job before it was marked may be about to make a delivery of it.
            log.wait_for_sealer(connection)
        due = erasures.claim(connection, limit=limit, put_off_until=now + HELD, now=now)
    for many in (row for row in due if row.track_id is None):
        _go_on_with_many(store, many, clock)
    ones = [row for row in due if row.track_id is not None]
    try:
        _take_out(store, ones, storage=storage, kept=kept, clock=clock)
    except StorageError:
        _put_off(store, ones, clock() + LOOK_AGAIN)
        raise
    hidden = not ones or store.truncate_log()
    for one in ones:
        _finish(store, providers, one.erasure_id, hidden=hidden, clock=clock)
    if ones:
        store.truncate_log()  # The ids by which the provider was asked have gone last.
    return len(due)


def _go_on_with_many(store: Store, erasure: Row[Any], clock: Callable[[], datetime]) -> None:
    """Mark what the filter finds, in batches: from then on its words are not needed. Done when the last job is."""
    while erasure.filter is not None:
        with store.writing() as connection:
            if not erase.mark_next(connection, erasure, now=clock()):
                erasures.save(connection, erasure.erasure_id, filter=None)
                break
    with store.writing() as connection:
        if erasures.is_any_unfinished(connection, erasure.erasure_id):
            erasures.save(connection, erasure.erasure_id, due_at=clock() + LOOK_AGAIN)
        else:
            copies = erasures.copies_below(connection, erasure.erasure_id)
            erasures.finish(connection, erasure.erasure_id, provider_copy=worst(copies), now=clock())


def _take_out(
    store: Store, ones: Sequence[Row[Any]], *, storage: Storage, kept: Spool, clock: Callable[[], datetime]
) -> None:
    """Out of this machine's spool, the rows and the archive."""
    if ones:
        spool.drain(store, kept)
        kept.forget([one.track_id for one in ones])
    for one in ones:
        _take_out_of_rows(store, one, clock())
    remove_unreferenced(store, storage, clock=clock)


def _take_out_of_rows(store: Store, erasure: Row[Any], now: datetime) -> None:
    track_id = erasure.track_id
    with store.writing() as connection:
        callbacks.erase_of(connection, track_id, now=now)
        job = jobs.lock(connection, [track_id])[track_id]
        attempts.erase(connection, track_id)
        gone_with_it = job.batch_id if batches.is_erased(connection, job.batch_id) else None
        idempotency.erase(connection, track_id=track_id, batch_id=gone_with_it)
        deliveries.erase(connection, track_id, now=now)
        gone = blobs.let_go(connection, images.erase(connection, track_id))
        jobs.erase(connection, job)
        erasures.save(connection, erasure.erasure_id, digests=sorted({*erasure.digests, *gone}))


def remove_unreferenced(store: Store, storage: Storage, *, clock: Callable[[], datetime], limit: int = 100) -> int:
    """Remove bytes that no picture shows, after the commit that said so. Returns how many. Raises `StorageError`."""
    now, started = clock(), time.monotonic()
    until = now + HELD
    with store.writing() as connection:
        rows = blobs.claim_unreferenced(
            connection, limit=limit, abandoned_before=now - ABANDONED_AFTER, lease_until=until, now=now
        )
    for done, row in enumerate(rows):
        if time.monotonic() - started > HELD.total_seconds() / 2:
            return done  # We were stopped meanwhile: somebody may have them soon, and put the same bytes anew.
        try:
            for key in (blob_key(row.sha256), *(thumbnail_key(row.sha256, size) for size in row.thumbnails)):
                storage.delete(key)
        except StorageError:
            with store.writing() as connection:
                blobs.give_back(connection, lease_until=until)
            raise
        with store.writing() as connection:
            blobs.removed(connection, row.sha256, lease_until=until)
    return len(rows)


def _put_off(store: Store, ones: Sequence[Row[Any]], until: datetime) -> None:
    with store.writing() as connection:
        for one in ones:
            erasures.save(connection, one.erasure_id, due_at=until)


def _finish(
    store: Store, providers: Mapping[str, Provider], erasure_id: str, *, hidden: bool, clock: Callable[[], datetime]
) -> None:
    """Ask the provider, and be done when there is an answer, or no hope of one. `hidden` False: the database's own log
    may still hold what was taken out."""
    now = clock()
    with store.reading() as connection:
        erasure = erasures.get(connection, erasure_id)
        if erasure is None:
            return
        job = jobs.get(connection, erasure.track_id)
        sent = attempts.of_job(connection, erasure.track_id)
        left = blobs.is_any_left(connection, erasure.digests)
    ask_at = now + LOOK_AGAIN if job is None or left or not hidden else _ask_at(sent, now)
    if job is None or ask_at > now:
        _put_off(store, [erasure], ask_at)
        return
    copies = [_ask(providers[job.provider], attempt, now) for attempt in sent]
    tries = erasure.provider_tries + 1
    if ProviderCopy.UNANSWERED in copies and tries < MOST_TRIES:
        pause = schedule.backoff(erasure.provider_tries, jitter=random.random(), first_s=5.0, most_s=600.0)
        with store.writing() as connection:
            erasures.save(connection, erasure_id, provider_tries=tries, due_at=clock() + pause)
        return
    with store.writing() as connection:
        jobs.lock(connection, [erasure.track_id])
        attempts.forget_ids(connection, erasure.track_id)
        erasures.finish(connection, erasure_id, provider_copy=worst(copies), now=clock())


def _ask_at(sent: Sequence[Row[Any]], now: datetime) -> datetime:
    """What the provider has in hand it cannot delete yet: it is asked when that must have come to its end."""
    under_way = [attempt for attempt in sent if attempt.evidence in UNDER_WAY]
    return max((attempt.sent_at + schedule.slot_held_for(attempt.eta_s) for attempt in under_way), default=now)


def _ask(provider: Provider, attempt: Row[Any], now: datetime) -> ProviderCopy:
    if attempt.provider_job_id is None and attempt.evidence in NOTHING_MADE:
        return ProviderCopy.NONE
    if now >= attempt.sent_at + schedule.PICTURE_LIFETIME:
        return ProviderCopy.EXPIRED
    if attempt.provider_job_id is None:
        return ProviderCopy.UNNAMED
    return provider.delete_copy(attempt.provider_job_id) or ProviderCopy.UNANSWERED
