"""Ed25519 (RFC 8032), by the library of the Python Cryptographic Authority."""

from functools import cached_property

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from webhook_app.domain.heads import PublicKey, encoded


class Ed25519Signer:
    """Signs with the key of this seed, 32 bytes."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    @cached_property
    def public_key(self) -> PublicKey:
        return PublicKey(encoded(self._key.public_key().public_bytes_raw()))

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


def verify(key: PublicKey, message: bytes, signature: bytes) -> bool:
    """Whether the holder of this key signed these bytes."""
    try:
        Ed25519PublicKey.from_public_bytes(key.raw).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
