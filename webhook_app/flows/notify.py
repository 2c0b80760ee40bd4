"""Sending deliveries: claim, POST, record. No transaction is open while a receiver thinks, and one that hangs or fails
does not hold up the others: each URL has a limit of sends at once, each client a share, and a breaker each URL."""

import random
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Connection, Row

from webhook_app.domain import schedule
from webhook_app.domain.events import Event, EventType
from webhook_app.domain.vault import Unreadable, Vault
from webhook_app.domain.webhooks import (
    GIVE_UP_AFTER,
    GONE,
    TEST,
    Answered,
    Breaker,
    DeliveryStatus,
    Reason,
    new_secret,
    next_try_after,
    signatures,
)
from webhook_app.net.port import Sender
from webhook_app.store import deliveries, endpoints, events, receivers
from webhook_app.store.engine import Store

log = structlog.get_logger("webhook_app.notify")
# So many sends at once to one URL of a client, over all workers; a hanging one holds no more threads than that.
AT_ONE_URL = 16
# The part of a worker's threads that one client may have, however many URLs it has.
OF_ONE_CLIENT = 0.75
# Beyond the few that are taken, so that those that may not be taken now do not hide the others.
LOOKED_AT = 200
URLS_LOOKED_AT = 50
PROBE_PATIENCE = schedule.CLAIM_LEASE
NO_SECRET = "secret_unreadable"  # noqa: S105 - a word


@dataclass(frozen=True, slots=True)
class Claim:
    """A leased delivery. With several `secrets` it is signed by each of them; a probe is what an open breaker lets
    through."""

    delivery_id: str
    event_id: str
    type: str
    url: str = field(repr=False)
    receiver: str
    body: bytes = field(repr=False)
    secrets: tuple[bytes, ...] = field(repr=False)
    fence: int
    is_probe: bool = False


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of it."""

    claim: Claim
    sent_at: datetime
    answered: Answered


def claim(store: Store, vault: Vault, *, owner: str, limit: int, crew: int, now: datetime) -> list[Claim]:
    """Lease up to `limit` due deliveries for a crew of so many threads, the longest due first as far as their URLs and
    clients may have more. What nobody wants any more ends here."""
    with store.looking() as connection:
        if not deliveries.is_any_due(connection, now=now):
            return []
        turns = _Turns(connection, limit, most_of_client=max(int(crew * OF_ONE_CLIENT), 1), now=now)
        turns.take_from_all()
    if not turns.chosen:
        return []
    with store.writing() as connection:
        won = receivers.probe(connection, turns.probes.values(), until=now + PROBE_PATIENCE, now=now)
        chosen = [n for n in turns.chosen if n not in turns.probes or turns.probes[n] in won]
        until = now + schedule.CLAIM_LEASE
        rows = deliveries.lease(connection, chosen, owner=owner, until=until, now=now) if chosen else []
        return _signed(connection, vault, rows, now, probes=turns.probes)


class _Turns:
    """Chooses among due deliveries; nothing is locked yet."""

    def __init__(self, connection: Connection, limit: int, *, most_of_client: int, now: datetime) -> None:
        self._connection, self._limit, self._now = connection, limit, now
        self._most_of_client = most_of_client
        self._at_url: Counter[str] = Counter()
        self._of_client: Counter[str] = Counter()
        for row in deliveries.busy(connection, now=now):
            self._at_url[row.receiver] += row.sends
            self._of_client[row.client_id] += row.sends
        self._breakers: dict[str, Breaker | None] = {}
        self.chosen: list[str] = []
        self.probes: dict[str, str] = {}

    def take_from_all(self) -> None:
        """The longest due first. Where those that may not be taken now fill the view, some other URLs, in any order:
        who comes late in it is not late each time."""
        most = self._limit + LOOKED_AT
        first = deliveries.first_due(self._connection, most=most, now=self._now)
        self._take(first)
        if len(first) < most or len(self.chosen) >= self._limit:
            return
        others = list(set(deliveries.receivers_waiting(self._connection)) - {row.receiver for row in first})
        random.shuffle(others)
        for receiver in others[:URLS_LOOKED_AT]:
            if len(self.chosen) >= self._limit:
                return
            self._take(deliveries.due_at(self._connection, receiver, most=AT_ONE_URL, now=self._now))

    def _take(self, rows: Sequence[Row[Any]]) -> None:
        unseen = {row.receiver for row in rows} - self._breakers.keys()
        found = receivers.breakers(self._connection, unseen)
        self._breakers |= {receiver: found.get(receiver) for receiver in unseen}
        for row in rows:
            if len(self.chosen) < self._limit and self._may(row):
                self._at_url[row.receiver] += 1
                self._of_client[row.client_id] += 1
                self.chosen.append(row.delivery_id)

    def _may(self, row: Row[Any]) -> bool:
        if self._at_url[row.receiver] >= AT_ONE_URL or self._of_client[row.client_id] >= self._most_of_client:
            return False
        breaker = self._breakers[row.receiver]
        if breaker is None or breaker.open_until is None:
            return True
        if breaker.is_open(self._now) or self._at_url[row.receiver]:
            return False
        self.probes[row.delivery_id] = row.receiver
        return True


def _signed(
    connection: Connection, vault: Vault, rows: Sequence[Row[Any]], now: datetime, *, probes: Collection[str]
) -> list[Claim]:
    """Leased deliveries with the secrets of all who want them there; what nobody wants is ended."""
    at_urls = endpoints.at_receivers(connection, {row.receiver for row in rows if row.type != TEST})
    tested = endpoints.by_id(connection, {row.endpoint_id for row in rows if row.type == TEST})
    of_jobs = {row.client_id for row in rows if row.of_job}
    defaults = {client_id: default_secret(connection, vault, client_id, now) for client_id in sorted(of_jobs)}
    claims, unwanted = [], []
    for row in sorted(rows, key=lambda row: (row.created_at, row.delivery_id)):
        signers = [(each.endpoint_id, each) for each in at_urls.get(row.receiver, [])]
        if row.type == TEST and row.endpoint_id in tested:
            signers = [(row.endpoint_id, tested[row.endpoint_id])]
        if row.of_job:
            signers.append((row.client_id, defaults[row.client_id]))
        if signers:
            secrets = [secret for owner, signer in signers for secret in opened(vault, signer, owner, now)]
            claims.append(_claim_of(row, tuple(dict.fromkeys(secrets)), is_probe=row.delivery_id in probes))
        else:
            unwanted.append(_kept(row) | deliveries.ended(DeliveryStatus.CANCELED, Reason.UNWANTED, now=now))
    deliveries.save(connection, unwanted)
    return claims


def _claim_of(row: Row[Any], secrets: tuple[bytes, ...], *, is_probe: bool) -> Claim:
    body = row.body.encode()
    return Claim(
        row.delivery_id, row.event_id, row.type, row.url, row.receiver, body, secrets, row.fence, is_probe=is_probe
    )


def _kept(row: Row[Any]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("delivery_id", "attempts", "rung")}


def default_secret(connection: Connection, vault: Vault, client_id: str, now: datetime) -> Row[Any]:
    """The stored secret for the URLs of a client's jobs; made when it is first needed."""
    locked = vault.lock(new_secret(), client_id)
    return endpoints.ensure_default_secret(connection, client_id, secret=locked, now=now)


def opened(vault: Vault, signer: Row[Any], owner: str, now: datetime) -> list[bytes]:
    """A signer's secret, and the one before while both count."""
    texts = [signer.secret]
    if signer.previous_secret and signer.previous_until > now:
        texts.append(signer.previous_secret)
    try:
        return [vault.open(text, owner) for text in texts]
    except Unreadable:
        log.error("webhook.secret_unreadable", owner=owner)
        return []


def send(sender: Sender, claim: Claim, *, clock: Callable[[], datetime]) -> Sent:
    """POST it, signed as of now. May be repeated: receivers know it again by its `webhook-id`."""
    now = clock()
    if not claim.secrets:
        return Sent(claim, now, Answered(None, 0.0, error=NO_SECRET))
    stamp = int(now.timestamp())
    headers = {
        "Content-Type": "application/json",
        "webhook-id": claim.event_id,
        "webhook-timestamp": str(stamp),
        "webhook-signature": signatures(claim.secrets, claim.event_id, stamp, claim.body),
    }
    return Sent(claim, now, sender.post(claim.url, claim.body, headers))


def record(store: Store, sent: Sequence[Sent], *, now: datetime) -> int:
    """Write what came of sends, all together. A lease that was lost writes nothing, so this may be repeated. Returns
    how many counted."""
    if not sent:
        return 0
    with store.writing() as connection:
        # In this order everywhere: receivers, endpoints, deliveries.
        breakers = _learned(connection, sent, now)
        disabled = _disabled(connection, sent, breakers, now)
        counted = _written(connection, sent, now)
        for receiver in sorted({each.claim.receiver for each in sent} & breakers.keys()):
            _end_others(connection, receiver, breakers[receiver], now, is_disabled=receiver in disabled)
        receivers.save(connection, breakers)
        told = [row for rows in disabled.values() for row in rows]
        events.append(connection, [_about(row, now) for row in sorted(told, key=lambda row: row.endpoint_id)])
        return counted


def _learned(connection: Connection, sent: Sequence[Sent], now: datetime) -> dict[str, Breaker]:
    """The breakers of these URLs after what came of the sends. Tests tell nothing."""
    real = [each for each in sent if each.claim.type != TEST]
    failed = {each.claim.receiver for each in real if not each.answered.is_success}
    breakers = receivers.lock(connection, failed=failed, others={each.claim.receiver for each in real} - failed)
    for each in sorted(real, key=lambda each: each.sent_at + timedelta(seconds=each.answered.duration_s)):
        before = breakers.get(each.claim.receiver)
        if each.answered.is_success:
            breakers |= {each.claim.receiver: Breaker()} if before is not None else {}
        else:
            known = before or Breaker()
            # What was under way when it opened says nothing new: sixteen such failures would open it for minutes.
            counts = each.claim.is_probe or not known.is_open(now)
            failure = known.failed(each.answered, counts=counts, jitter=random.random(), now=now)
            breakers[each.claim.receiver] = failure
    return breakers


def _disabled(
    connection: Connection, sent: Sequence[Sent], breakers: dict[str, Breaker], now: datetime
) -> dict[str, list[Row[Any]]]:
    """Disable the endpoints whose receiver wants nothing more, or has only failed for days; by receiver."""
    gone = {each.claim.receiver for each in sent if each.answered.status_code == GONE and each.claim.type != TEST}
    found: dict[str, list[Row[Any]]] = {}
    for receiver in sorted(breakers):
        reason = Reason.GONE if receiver in gone else Reason.FAILING
        if receiver in gone or breakers[receiver].has_only_failed(now):
            found[receiver] = endpoints.disable(connection, receiver, reason, now=now)
    return found


def _written(connection: Connection, sent: Sequence[Sent], now: datetime) -> int:
    rows = deliveries.lock(connection, {each.claim.delivery_id for each in sent})
    changed, attempts = [], []
    for each in sent:
        row = rows.get(each.claim.delivery_id)
        if row is not None and row.fence == each.claim.fence and row.lease_until is not None:
            changed.append(_after(row, each.answered, now))
            attempts.append(_attempt(each, row.attempts + 1))
    deliveries.save(connection, changed)
    deliveries.add_attempts(connection, attempts)
    return len(changed)


def _after(row: Row[Any], answered: Answered, now: datetime) -> dict[str, Any]:
    """A delivery after this answer: its end, or its next try."""
    known = {"delivery_id": row.delivery_id, "attempts": row.attempts + 1, "rung": row.rung + 1}
    if answered.is_success:
        return known | deliveries.ended(DeliveryStatus.SUCCEEDED, None, now=now)
    if answered.forbidden:
        return known | deliveries.ended(DeliveryStatus.BLOCKED, Reason.ADDRESS, now=now)
    if answered.status_code == GONE:
        return known | deliveries.ended(DeliveryStatus.FAILED, Reason.GONE, now=now)
    pause = next_try_after(row.rung, jitter=random.random(), retry_after_s=answered.retry_after_s)
    if pause is None:
        return known | deliveries.ended(DeliveryStatus.FAILED, Reason.EXHAUSTED, now=now)
    waiting = {"status": DeliveryStatus.PENDING.value, "reason": None, "finished_at": None}
    return known | waiting | {"due_at": now + pause}


def _attempt(sent: Sent, n: int) -> dict[str, Any]:
    answered = sent.answered
    return {
        "delivery_id": sent.claim.delivery_id,
        "n": n,
        "sent_at": sent.sent_at,
        "duration_ms": round(answered.duration_s * 1000),
        "status_code": answered.status_code,
        "error": answered.error,
        "excerpt": answered.excerpt,
    }


def _end_others(connection: Connection, receiver: str, breaker: Breaker, now: datetime, *, is_disabled: bool) -> None:
    """What waits for a URL that is given up ends with it; what jobs of their own sent there, when it is too old."""
    if is_disabled:
        deliveries.cancel_unwanted(connection, receiver, now=now)
    if breaker.has_only_failed(now):
        deliveries.give_up(connection, receiver, created_before=now - GIVE_UP_AFTER, now=now)


def _about(row: Row[Any], now: datetime) -> Event:
    data = {"endpoint_id": row.endpoint_id, "reason": row.disabled_reason}
    return Event(EventType.ENDPOINT_DISABLED, "worker", now, client_id=row.client_id, data=data)


def renew(store: Store, *, owner: str, now: datetime) -> None:
    """A send has its time limit, but the look for its address has none of ours: nobody else begins meanwhile."""
    with store.writing() as connection:
        deliveries.renew(connection, owner=owner, until=now + schedule.CLAIM_LEASE, now=now)


def give_back(store: Store, *, owner: str) -> None:
    """Hand leased deliveries to the other workers, when this one stops."""
    with store.writing() as connection:
        deliveries.give_back(connection, owner=owner)
