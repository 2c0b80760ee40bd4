"""Who is calling: an API key by `Authorization: Bearer` or `X-Api-Key`, and the scopes that it carries."""

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from flask import g, request

from webhook_app.domain.errors import InsufficientScope, Unauthenticated
from webhook_app.domain.job import Scope
from webhook_app.flows.keys import BOOTSTRAP_KEY_ID, ensure_bootstrap
from webhook_app.store import reads
from webhook_app.store.engine import Store
from webhook_app.web.together import Together

QUERY_KEYS = frozenset({"key", "api_key", "apikey", "api-key", "x-api-key", "access_token", "token", "authorization"})
LONGEST_KEY = 512
# How long a key's row is taken for what it was: as long may a key be used after another process has revoked it.
KNOWN_FOR_S = 1.0
MOST_KNOWN = 10_000


@dataclass(frozen=True, slots=True)
class Caller:
    """The key in use and the client that it acts for."""

    key_id: str
    client_id: str
    scopes: frozenset[Scope]

    @property
    def is_admin(self) -> bool:
        return Scope.ADMIN in self.scopes

    @property
    def sees(self) -> str | None:
        """The client whose objects may be read; None for everyone's."""
        return None if self.is_admin else self.client_id

    def may(self, scope: Scope) -> bool:
        """Whether the key carries the scope; `admin` carries all."""
        return scope in self.scopes or self.is_admin


def caller() -> Caller:
    """The authenticated caller of this request. Only in views that have a scope."""
    found: Caller = g.caller
    return found


def presented_key() -> str | None:
    """The API key in the request's headers, None without one. Raises `Unauthenticated` for one in the query string,
    where it would end up in logs."""
    if request.query_string and any(name.lower() in QUERY_KEYS for name in request.args):
        raise Unauthenticated("An API key is never read from the query string; send it as Authorization: Bearer KEY.")
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credentials.strip():
        return credentials.strip()
    return request.headers.get("X-Api-Key", "").strip() or None


@dataclass(slots=True)
class Authenticator:
    """Turns a key into a caller. The bootstrap key is compared, never stored, and counts only while it is set. A stored
    key is looked up once a second at most; `forget` makes the next request look again."""

    store: Store
    bootstrap_key: str | None
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    monotonic: Callable[[], float] = time.monotonic
    _bootstrap_client: str | None = None
    _known: dict[str, tuple[Caller, float]] = field(default_factory=dict)
    _together: Together[reads.KeyRow] = field(init=False)

    def __post_init__(self) -> None:
        self._together = Together(self._read)

    def guard(self, scope: Scope) -> None:
        """Put the caller into `g.caller`; raises `Unauthenticated` or `InsufficientScope`."""
        known = self.authenticate()
        if not known.may(scope):
            raise InsufficientScope(f"This API key lacks the scope {scope.value}.")
        g.caller = known

    def authenticate(self) -> Caller:
        """The caller of this request, whatever the scope."""
        key = presented_key()
        if key is None:
            raise Unauthenticated("Send an API key as Authorization: Bearer KEY or as X-Api-Key.")
        if len(key) > LONGEST_KEY:
            raise Unauthenticated("This API key is not valid.")
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        return self._bootstrap(digest) or self._stored(digest)

    def forget(self) -> None:
        """A key was revoked in this process."""
        self._known.clear()

    def _bootstrap(self, digest: str) -> Caller | None:
        if self.bootstrap_key is None:
            return None
        wanted = hashlib.sha256(self.bootstrap_key.encode("utf-8", "surrogatepass")).hexdigest()
        if not hmac.compare_digest(digest, wanted):
            return None
        if self._bootstrap_client is None:
            # Not at the start: the web process starts with the database down.
            self._bootstrap_client = ensure_bootstrap(self.store, now=self.clock())
        return Caller(BOOTSTRAP_KEY_ID, self._bootstrap_client, frozenset({Scope.ADMIN}))

    def _stored(self, digest: str) -> Caller:
        known, until = self._known.get(digest, (None, 0.0))
        if known is not None and self.monotonic() < until:
            return known
        until = self.monotonic() + KNOWN_FOR_S  # From before the look: what it finds may be revoked right after it.
        row = self._together.of([digest]).get(digest)
        if row is None or row.revoked_at is not None:
            self._known.pop(digest, None)
            raise Unauthenticated("This API key is not valid.")
        found = Caller(row.key_id, row.client_id, frozenset(Scope(scope) for scope in row.scopes))
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[digest] = (found, until)
        return found

    def _read(self, digests: Sequence[str]) -> Mapping[str, reads.KeyRow]:
        with self.store.looking() as connection:
            return reads.keys_by_sha256(connection, digests)
