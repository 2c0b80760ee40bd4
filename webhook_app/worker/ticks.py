"""What a worker does at each tick: one batch of one flow. Waiting, waking and failures are the loop's."""

import os
import secrets
import socket
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from queue import SimpleQueue

from sqlalchemy import Connection

from webhook_app import wiring
from webhook_app.flows import (
    anchor,
    archive,
    erase,
    forget,
    notify,
    reconcile,
    redeliver,
    seal,
    spool,
    submit,
    subscribe,
)
from webhook_app.flows.announce import announce
from webhook_app.flows.archive import ImageClaim
from webhook_app.flows.receive import apply_stored
from webhook_app.flows.replay import adopt
from webhook_app.flows.tidy import tidy
from webhook_app.flows.warn import warn
from webhook_app.wiring import MODELSLAB, Parts
from webhook_app.worker.crew import Crew
from webhook_app.worker.loop import Ticking

FETCHERS = 4
NOTIFIERS = 64
POLLERS = 2
BATCH = 100
ERASURES_AT_ONCE = 20
POLLS_AT_ONCE = 5
SWEEP_S = 1.0
SPOOL_S = 5.0
SCRUB_S = 60.0
ADOPT_S = 30.0
PRUNE_S = 60.0
WARN_S = 60.0
RETIRE_S = 60.0
TIDY_S = 60.0
RECOVER_S = 1.0
RECOVER_REST_S = 0.2  # It keeps the sealer out while it is at work.
LOCK_AGAIN_S = 60.0
SEAL_REST_S = 0.02
THOROUGH_S = 30.0  # So long an event that was committed very late may wait for its number.
THOROUGH_AGAIN_S = 1.0  # Not at once: a worker that is behind would look for nothing but what is old.
ANCHOR_S = 5.0
WOKEN_REST_S = 0.005  # A busy log must not make the claims spin.
NOTIFY_REST_S = 0.02  # Results are recorded and deliveries claimed together: fewer and larger turns cost less.
HEARTBEAT_S = 10.0


def clock() -> datetime:
    return datetime.now(UTC)


def new_owner() -> str:
    """A name for this worker's leases, never used twice."""
    return f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(4)}"


class Ticks:
    """The ticks of one worker over its parts. `stopping` ends claims; work in hand goes on."""

    def __init__(self, parts: Parts, *, owner: str) -> None:
        self.parts, self.owner = parts, owner
        self.policy = wiring.policy(parts)
        self.send_wake, self.archive_wake, self.seal_wake = threading.Event(), threading.Event(), threading.Event()
        self.senders = Crew("send", parts.settings.worker_threads, when_free=self.send_wake.set)
        self.fetching: set[str] = set()
        self.fresh_first = True
        self.chained = False
        self.thorough_at = 0.0
        self.signer = wiring.signer_of(parts.settings)
        self.unsigned, self.anchor_wake = 0, threading.Event()
        self.fetchers = Crew("fetch", FETCHERS, when_free=self.archive_wake.set)
        self.notify_wake = threading.Event()
        self.notifiers = Crew("notify", NOTIFIERS, when_free=self.notify_wake.set)
        self.sent: SimpleQueue[notify.Sent] = SimpleQueue()
        self.unrecorded: list[notify.Sent] = []
        self.addresses = wiring.addresses(parts)

    def all(self) -> list[Ticking]:
        """Every loop of a worker but the heartbeat. Without a key nothing is submitted."""
        sending = [Ticking("send", self.send, SWEEP_S, rest_s=WOKEN_REST_S, wake=self.send_wake)]
        return [
            *(sending if self.parts.settings.modelslab_api_key else []),
            Ticking("archive", self.archive, SWEEP_S / 2, rest_s=WOKEN_REST_S, wake=self.archive_wake),
            Ticking("seal", self.seal, SWEEP_S, rest_s=SEAL_REST_S, wake=self.seal_wake),
            Ticking("anchor", self.anchor, ANCHOR_S, wake=self.anchor_wake),
            Ticking("notify", self.send_deliveries, SWEEP_S, rest_s=NOTIFY_REST_S, wake=self.notify_wake),
            Ticking("recover", self.recover, RECOVER_S, rest_s=RECOVER_REST_S),
            Ticking("lock-again", self.lock_again, LOCK_AGAIN_S),
            Ticking("stored", self.stored, SWEEP_S),
            Ticking("adopt", self.adopt, ADOPT_S),
            Ticking("expire", self.expire, SWEEP_S),
            Ticking("spool", self.drain, SPOOL_S),
            Ticking("scrub", self.scrub, SCRUB_S, rest_s=SCRUB_S),
            Ticking("prune", self.prune, PRUNE_S),
            Ticking("warn", self.warn, WARN_S),
            Ticking("forget", self.forget, SWEEP_S),
            Ticking("retire", self.retire, RETIRE_S),
            Ticking("tidy", self.tidy, TIDY_S, backoff_most_s=TIDY_S),
            *(Ticking(f"poll-{n}", self.poll, SWEEP_S) for n in range(POLLERS)),
        ]

    def heartbeat(self) -> Ticking:
        """Keeps the leases; runs until the work in hand is finished."""
        return Ticking("heartbeat", self.renew, HEARTBEAT_S, backoff_most_s=2.0)

    def wake(self, _track_ids: Iterable[str] | None) -> None:
        """Something was committed: look at once."""
        self.seal_wake.set()
        self.send_wake.set()
        self.archive_wake.set()

    def send(self) -> int:
        """Claim as many jobs as there are free senders, and hand them over."""
        free = self.senders.free
        if not free:
            return 0
        store, provider = self.parts.store, self.parts.providers[MODELSLAB]
        claims = submit.claim(store, provider=MODELSLAB, owner=self.owner, limit=free, policy=self.policy, now=clock())
        where = partial(wiring.callback_url, self.parts)
        send = partial(
            submit.send, store, provider, owner=self.owner, callback_url=where, policy=self.policy, clock=clock
        )
        for claim in claims:
            self.senders.do(partial(send, claim))
        return len(claims)

    def archive(self) -> int:
        """Claim as many pictures as there are free fetchers: in one turn the most urgent ones, in the next those that
        were tried least often. Else some old ones at a host that is silent would have all fetchers for a day."""
        free = self.fetchers.free
        if not free:
            return 0
        store = self.parts.store
        self.fresh_first = not self.fresh_first
        claims = archive.claim_images(
            store, owner=self.owner, limit=free, policy=self.policy, now=clock(), fresh_first=self.fresh_first
        )
        for claim in claims:
            self.fetching.add(claim.image_id)
            self.fetchers.do(partial(self._copy, claim))
        return len(claims)

    def _copy(self, claim: ImageClaim) -> None:
        """A picture's lease is renewed while it is in hand here, and no longer."""
        parts = self.parts
        try:
            archive.archive_one(
                parts.store,
                fetcher=parts.fetcher,
                inspector=parts.inspector,
                storage=parts.storage,
                claim=claim,
                clock=clock,
            )
        finally:
            self.fetching.discard(claim.image_id)

    def seal(self) -> int:
        """First what an older release left unchained: nobody need wait for the next event to have a whole log. Then
        what was committed, and the deliveries of it. Returns 0 when there was no more than it has done: what comes now
        wakes it."""
        if not self.chained and (chained := seal.chain(self.parts.store)):
            return chained
        self.chained = True
        thoroughly = time.monotonic() >= self.thorough_at
        sealed = seal.seal(self.parts.store, tell=self._announce, thoroughly=thoroughly)
        if sealed is None:
            return 0
        if thoroughly:
            self.thorough_at = time.monotonic() + (THOROUGH_S if sealed < seal.AT_ONCE else THOROUGH_AGAIN_S)
        if sealed:
            self.notify_wake.set()
        self.unsigned += sealed
        if self.unsigned >= anchor.EVENTS:
            self.anchor_wake.set()
        return sealed if sealed == seal.AT_ONCE else 0

    def _announce(self, connection: Connection, first: int, last: int) -> None:
        announce(connection, first=first, last=last, addresses=self.addresses, now=clock())

    def send_deliveries(self) -> int:
        """Record what has come back, all together, and claim as many deliveries as there are free notifiers."""
        recorded = self.record_sent()
        free = self.notifiers.free
        if not free:
            return recorded
        parts = self.parts
        claims = notify.claim(parts.store, parts.vault, owner=self.owner, limit=free, crew=NOTIFIERS, now=clock())
        for claim in claims:
            self.notifiers.do(partial(self._post, claim))
        return recorded + len(claims)

    def _post(self, claim: notify.Claim) -> None:
        self.sent.put(notify.send(self.parts.sender, claim, clock=clock))

    def record_sent(self) -> int:
        """What cannot be written now is kept for the next time."""
        while not self.sent.empty():
            self.unrecorded.append(self.sent.get())
        recorded = notify.record(self.parts.store, self.unrecorded, now=clock())
        self.unrecorded.clear()
        return recorded

    def recover(self) -> int:
        """Send again what endpoints have missed, where somebody asked for that."""
        recovered = redeliver.recover_due(self.parts.store, self.addresses, now=clock())
        if recovered:
            self.notify_wake.set()
        return recovered

    def lock_again(self) -> int:
        """Lock stored secrets with the newest `SECRET_KEY`."""
        return subscribe.lock_again(self.parts.store, self.parts.vault)

    def anchor(self) -> int:
        """Sign where the log ends, when that is due, and take what was signed out of the house."""
        parts = self.parts
        self.unsigned = 0
        signed = anchor.sign(parts.store, self.signer, now=clock())
        return signed + anchor.archive(parts.store, parts.storage, limit=BATCH, now=clock())

    def stored(self) -> int:
        return apply_stored(self.parts.store, self.parts.providers, limit=BATCH, policy=self.policy, now=clock())

    def adopt(self) -> int:
        """Callbacks that came when their job was not in the database."""
        return adopt(self.parts.store, self.parts.providers, limit=BATCH, policy=self.policy, now=clock())

    def expire(self) -> int:
        return reconcile.expire(self.parts.store, policy=self.policy, now=clock())

    def drain(self) -> int:
        """What web processes of this machine left in their spools when they died."""
        return spool.drain(self.parts.store, self.parts.spool).handed_over

    def scrub(self) -> int:
        """What was set aside on this machine, of jobs that were erased wherever."""
        return spool.scrub(self.parts.store, self.parts.spool)

    def forget(self) -> int:
        """Take out what erased jobs hold."""
        parts = self.parts
        return forget.forget_due(
            parts.store,
            parts.providers,
            storage=parts.storage,
            kept=parts.spool,
            limit=ERASURES_AT_ONCE,
            clock=clock,
        )

    def retire(self) -> int:
        """Ask for the erasing of jobs that are older than `RETENTION_DAYS`."""
        now = clock()
        before = self.parts.settings.retained_from(now)
        return 0 if before is None else erase.retire(self.parts.store, before=before, now=now)

    def tidy(self) -> int:
        """Remove what processes of this machine left behind when they died: at the start, and every minute."""
        return tidy(self.parts.storage, now=clock())

    def prune(self) -> int:
        return seal.prune(self.parts.store, now=clock())

    def warn(self) -> int:
        """Of pictures that will be gone soon."""
        return warn(self.parts.store, limit=BATCH, now=clock())

    def poll(self) -> int:
        return reconcile.poll_due(
            self.parts.store, self.parts.providers, limit=POLLS_AT_ONCE, policy=self.policy, clock=clock
        )

    def renew(self) -> int:
        """Returns 0 always: however many leases there are, the next renewal is a heartbeat later."""
        submit.renew(self.parts.store, owner=self.owner, now=clock())
        if self.fetching:
            archive.renew(self.parts.store, list(self.fetching), owner=self.owner, now=clock())
        if self.notifiers.free < NOTIFIERS:
            notify.renew(self.parts.store, owner=self.owner, now=clock())
        return 0

    def give_back(self) -> None:
        """Hand what has not begun to the other workers."""
        submit.give_back(self.parts.store, owner=self.owner, now=clock())

    def give_back_pictures(self) -> None:
        """Hand the pictures that were not finished to the other workers."""
        archive.give_back(self.parts.store, owner=self.owner)

    def give_back_deliveries(self) -> None:
        """Record what has come back, and hand the rest to the other workers."""
        self.record_sent()
        notify.give_back(self.parts.store, owner=self.owner)
