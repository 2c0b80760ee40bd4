"""Outgoing webhooks by Standard Webhooks (standardwebhooks.com): secrets, signatures, the ladder of tries, and what an
answer means. Pure."""

import base64
import hashlib
import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

SECRET_PREFIX = "whsec_"  # noqa: S105 - the prefix of one
SECRET_BYTES = 32
TEST = "endpoint.test"
# After the try at once. Jitter of a fifth to either side keeps those that failed together from coming again together.
LADDER = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
JITTER = 0.2
LONGEST_RETRY_AFTER = timedelta(hours=24)
# A receiver of failures only is given up after this; so is a delivery that found no way to it.
GIVE_UP_AFTER = timedelta(days=5)
# So many failures in a row open the breaker of a client's URL; then one delivery at a time looks whether it is back.
FAILURES_BEFORE_OPEN = 5
OPEN_FIRST_S = 10.0
OPEN_MOST_S = 300.0
GONE = 410


class DeliveryStatus(StrEnum):
    """`blocked`: the address must not be reached. `canceled`: nobody wants it there any more."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    BLOCKED = "blocked"
    CANCELED = "canceled"


class Reason(StrEnum):
    """Why a delivery ended otherwise than well, and why an endpoint is disabled."""

    EXHAUSTED = "exhausted"
    EXPIRED = "expired"
    GONE = "gone"
    FAILING = "failing"
    ADDRESS = "address_forbidden"
    UNWANTED = "endpoint_not_active"
    ERASED = "erased"


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of one send: a status, or the word for why there was none (`error`). `excerpt` is how the answer
    begins."""

    status_code: int | None
    duration_s: float
    error: str | None = None
    retry_after_s: int | None = None
    excerpt: str = ""
    forbidden: bool = False

    @property
    def is_success(self) -> bool:
        return self.status_code is not None and 200 <= self.status_code < 300


def new_secret() -> bytes:
    return os.urandom(SECRET_BYTES)


def secret_text(secret: bytes) -> str:
    """As clients get it, and as the standard's libraries take it."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


def signatures(secrets: Sequence[bytes], webhook_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` header: one `v1,…` for each secret, with a space between."""
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    macs = (hmac.digest(secret, signed, hashlib.sha256) for secret in secrets)
    return " ".join(f"v1,{base64.b64encode(mac).decode()}" for mac in macs)


def receiver_of(client_id: str, url: str) -> str:
    """A client's URL as one word: what gets an event once, has a breaker, and a limit of sends at once."""
    return hashlib.sha256(f"{client_id}\n{url}".encode()).hexdigest()[:40]


def next_try_after(rung: int, *, jitter: float, retry_after_s: int | None = None) -> timedelta | None:
    """When to try again after the failed try number `rung` (from 0), `jitter` in [0, 1); not before the receiver asked
    to, within a day. None when that was the last one."""
    if rung >= len(LADDER):
        return None
    span = LADDER[rung] * (1 + JITTER * (2 * jitter - 1))
    asked = timedelta(seconds=min(max(retry_after_s or 0, 0), LONGEST_RETRY_AFTER.total_seconds()))
    return max(span, asked)


@dataclass(frozen=True, slots=True)
class Breaker:
    """How a receiver has done of late: failures in a row, since when there were only failures, and until when it is
    left alone."""

    failures: int = 0
    failing_since: datetime | None = None
    open_until: datetime | None = None

    def failed(self, answered: Answered, *, counts: bool = True, jitter: float, now: datetime) -> "Breaker":
        """After one more failure; one that does not count tells no more than the ones before. A receiver that asked
        for time gets it, however few failures there were."""
        failures, until = self.failures + counts, self.open_until
        if counts and failures >= FAILURES_BEFORE_OPEN:
            span = min(OPEN_FIRST_S * 2 ** min(failures - FAILURES_BEFORE_OPEN, 20), OPEN_MOST_S)
            until = now + timedelta(seconds=span * (1 - JITTER * jitter))
        if answered.retry_after_s:
            asked = now + min(timedelta(seconds=answered.retry_after_s), LONGEST_RETRY_AFTER)
            until = asked if until is None else max(until, asked)
        return Breaker(failures, self.failing_since or now, until)

    def is_open(self, now: datetime) -> bool:
        return self.open_until is not None and self.open_until > now

    def has_only_failed(self, now: datetime) -> bool:
        return self.failing_since is not None and now - self.failing_since >= GIVE_UP_AFTER
