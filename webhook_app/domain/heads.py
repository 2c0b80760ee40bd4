"""Signed statements of where the log ended, and the keys that sign them. One is enough to see whether anything before
it was changed since, and it needs neither the database nor this program to be checked.

What is signed is the canonical JSON (RFC 8785) of `hash`, `kid`, `log_id`, `seq` and `time`; the document has these and
`signature`, Ed25519 (RFC 8032) in base64url without padding. `kid` is the key's thumbprint (RFC 7638).
"""

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from webhook_app.domain.chain import canonical, instant

HEADS = "heads"
HASH = re.compile(r"[0-9a-f]{64}")
KEY_BYTES = 32
IN_A_FOLDER = 1_000_000
LARGEST_DOCUMENT = 4_096


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 public key, `x` in base64url without padding."""

    x: str

    @property
    def kid(self) -> str:
        """Its thumbprint."""
        told = canonical({"crv": "Ed25519", "kty": "OKP", "x": self.x})
        return encoded(hashlib.sha256(told.encode()).digest())

    @property
    def jwk(self) -> dict[str, str]:
        """As a JSON Web Key (RFC 8037)."""
        return {"kty": "OKP", "crv": "Ed25519", "x": self.x, "kid": self.kid, "alg": "EdDSA", "use": "sig"}

    @property
    def raw(self) -> bytes:
        return decoded(self.x)


@dataclass(frozen=True, slots=True)
class Statement:
    """That a log ended with this `seq` and `hash`, by the holder of a key."""

    log_id: str
    seq: int
    hash: str
    signed_at: datetime
    kid: str

    @property
    def text(self) -> bytes:
        """What is signed."""
        return canonical(self.members).encode()

    @property
    def members(self) -> dict[str, Any]:
        time = instant(self.signed_at)
        return {"log_id": self.log_id, "seq": self.seq, "hash": self.hash, "time": time, "kid": self.kid}


@dataclass(frozen=True, slots=True)
class Head:
    """A signed statement."""

    statement: Statement
    signature: str

    @property
    def document(self) -> bytes:
        """As it lies outside the database."""
        return json.dumps(self.statement.members | {"signature": self.signature}).encode() + b"\n"


def read_head(document: bytes | dict[str, Any]) -> Head:
    """What a document says, whether it is true or not. Raises `ValueError` for one that says nothing."""
    try:
        said = json.loads(document) if isinstance(document, bytes) else document
        at = datetime.fromisoformat(said["time"])
        statement = Statement(said["log_id"], said["seq"], said["hash"], at, said["kid"])
        sound = type(statement.seq) is int and HASH.fullmatch(statement.hash) and at.utcoffset() == timedelta(0)
        if not sound or instant(at) != said["time"]:
            raise ValueError("not a head")
        decoded(said["signature"])
        return Head(statement, said["signature"])
    except (KeyError, TypeError, UnicodeDecodeError, binascii.Error) as error:
        raise ValueError("not a head") from error


def read_key(jwk: dict[str, Any]) -> PublicKey:
    """The key of a JSON Web Key. Raises `ValueError` for another kind of key."""
    try:
        if (jwk["kty"], jwk["crv"]) == ("OKP", "Ed25519") and len(decoded(jwk["x"])) == KEY_BYTES:
            return PublicKey(jwk["x"])
    except (KeyError, TypeError, binascii.Error) as error:
        raise ValueError("not an Ed25519 key") from error
    raise ValueError("not an Ed25519 key")


def head_key(log_id: str, seq: int) -> str:
    """Where it lies in the archive: in the order of the log, and not too many in one folder."""
    return f"{HEADS}/{log_id}/{seq // IN_A_FOLDER:012d}/{seq:018d}.json"


def encoded(raw: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decoded(text: str) -> bytes:
    """Its bytes. Raises `binascii.Error`, a `ValueError`."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
