"""Secrets that we must be able to use again, as they are stored: encrypted under a key derived from `SECRET_KEY`.

A webhook secret has 32 bytes, one block of HMAC-SHA256: it is combined with the block that a key makes of a random
nonce, and the whole is authenticated by a second key, together with whose it is (encrypt-then-MAC). A row that was
changed, or moved to another owner, does not open."""

import base64
import binascii
import hashlib
import hmac
import os
from dataclasses import dataclass, field

from webhook_app.domain.tokens import derive

SIZE = 32
NONCE = 16
PURPOSE = "stored webhook secret"


class Unreadable(Exception):
    """It was not locked with any of our keys, or not for this owner, or it was changed."""


@dataclass(frozen=True, slots=True)
class Vault:
    """The first of `secrets` locks, all of them open: so they rotate in two deploys, as tokens do."""

    secrets: tuple[str, ...] = field(repr=False)

    def lock(self, value: bytes, owner: str) -> str:
        """Text that only this installation can open, and only for this owner."""
        if len(value) != SIZE:
            raise ValueError(f"a secret has {SIZE} bytes")
        nonce, secret = os.urandom(NONCE), self.secrets[0]
        hidden = _combined(value, _block(secret, nonce))
        sealed = nonce + hidden + _mac(secret, owner, nonce + hidden)
        return f"{key_name(secret)}.{base64.urlsafe_b64encode(sealed).decode()}"

    def open(self, text: str, owner: str) -> bytes:
        """What was locked. Raises `Unreadable`."""
        try:
            raw = base64.urlsafe_b64decode(text.partition(".")[2])
        except binascii.Error as error:
            raise Unreadable("a stored secret is no base64") from error
        nonce, hidden, mac = raw[:NONCE], raw[NONCE : NONCE + SIZE], raw[NONCE + SIZE :]
        for secret in self.secrets:
            if len(hidden) == SIZE and hmac.compare_digest(mac, _mac(secret, owner, nonce + hidden)):
                return _combined(hidden, _block(secret, nonce))
        raise Unreadable("a stored secret was not locked with any SECRET_KEY of now")

    @property
    def newest(self) -> str:
        """How what is locked now begins; what begins otherwise is to be locked again before its key goes."""
        return f"{key_name(self.secrets[0])}."


def key_name(secret: str) -> str:
    """Which key locked something; tells nothing of the key."""
    return derive(secret, f"{PURPOSE}, name")[:4].hex()


def _block(secret: str, nonce: bytes) -> bytes:
    return hmac.digest(derive(secret, f"{PURPOSE}, hiding"), nonce, hashlib.sha256)


def _mac(secret: str, owner: str, sealed: bytes) -> bytes:
    return hmac.digest(derive(secret, f"{PURPOSE}, proving"), owner.encode() + b"\0" + sealed, hashlib.sha256)


def _combined(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
