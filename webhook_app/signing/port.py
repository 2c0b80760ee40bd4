"""What the flows ask of whoever signs."""

from typing import Protocol

from webhook_app.domain.heads import PublicKey


class Signer(Protocol):
    @property
    def public_key(self) -> PublicKey:
        """What others check its signatures with."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The signature of these bytes, the same each time."""
        ...


class Verifier(Protocol):
    def __call__(self, key: PublicKey, message: bytes, signature: bytes) -> bool:
        """Whether the holder of this key signed these bytes."""
        ...
