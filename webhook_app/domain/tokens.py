"""Capabilities made from `SECRET_KEY`: callback tokens and signed URLs. Keys are derived per purpose (HKDF, RFC
5869)."""

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from functools import lru_cache

TOKEN_BYTES = 16


@lru_cache(maxsize=64)  # Asked for with each callback, for the same few secrets and purposes.
def derive(secret: str, purpose: str) -> bytes:
    """A 256-bit key for one purpose: HKDF-SHA256 with no salt and the purpose as info, one block long."""
    extracted = hmac.digest(b"\0" * 32, secret.encode(), hashlib.sha256)
    return hmac.digest(extracted, purpose.encode() + b"\1", hashlib.sha256)


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class Tokens:
    """Makes and checks tokens. The first of `secrets` signs, all of them are accepted: so they rotate in two
    deploys."""

    secrets: tuple[str, ...] = field(repr=False)

    def callback(self, provider: str, track_id: str, attempt: int) -> str:
        """`{attempt}.{base64url of 128 bits}`, for the URL that the provider calls back for this one attempt."""
        return f"{attempt}.{_encode(self._callback_mac(self.secrets[0], provider, track_id, attempt))}"

    def check_callback(self, provider: str, track_id: str, token: str) -> int | None:
        """The attempt that the token was made for, None for a bad token. Constant time over the token's secret part."""
        number, _, mac = token.partition(".")
        if not (number.isascii() and number.isdigit() and len(number) <= 6):
            return None
        attempt = int(number)
        if number != str(attempt):
            return None
        given = mac.encode("utf-8", "surrogatepass")
        wanted = [_encode(self._callback_mac(s, provider, track_id, attempt)).encode() for s in self.secrets]
        return attempt if sum(hmac.compare_digest(given, w) for w in wanted) else None

    def sign(self, purpose: str, message: str) -> str:
        """A signature in base64url over `message` for one purpose, such as `page cursor`."""
        return _encode(hmac.digest(derive(self.secrets[0], purpose), message.encode(), hashlib.sha256)[:TOKEN_BYTES])

    def check(self, purpose: str, message: str, signature: str) -> bool:
        """Whether any of the secrets made this signature for this purpose."""
        given = signature.encode("utf-8", "surrogatepass")
        macs = (hmac.digest(derive(s, purpose), message.encode(), hashlib.sha256)[:TOKEN_BYTES] for s in self.secrets)
        return bool(sum(hmac.compare_digest(given, _encode(mac).encode()) for mac in macs))

    @staticmethod
    def _callback_mac(secret: str, provider: str, track_id: str, attempt: int) -> bytes:
        message = f"{provider}\n{track_id}\n{attempt}".encode("utf-8", "surrogatepass")
        return hmac.digest(derive(secret, "callback"), message, hashlib.sha256)[:TOKEN_BYTES]
