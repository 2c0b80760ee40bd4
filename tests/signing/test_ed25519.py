"""Signatures that any other library makes and checks the same way: the vectors of the RFCs."""

from webhook_app.domain.heads import PublicKey, decoded, encoded
from webhook_app.signing.ed25519 import Ed25519Signer, verify

# RFC 8037, appendix A.
SEED = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
PUBLIC = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
THUMBPRINT = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
MESSAGE = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
SIGNATURE = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"


def test_a_key_is_the_public_one_of_its_seed_and_named_by_its_thumbprint() -> None:
    key = Ed25519Signer(decoded(SEED)).public_key
    assert key == PublicKey(PUBLIC)
    assert key.kid == THUMBPRINT
    assert key.jwk["x"] == PUBLIC


def test_a_signature_is_that_of_the_rfc() -> None:
    assert encoded(Ed25519Signer(decoded(SEED)).sign(MESSAGE)) == SIGNATURE
    assert verify(PublicKey(PUBLIC), MESSAGE, decoded(SIGNATURE))


def test_what_was_not_signed_is_not_believed() -> None:
    other = Ed25519Signer(b"\1" * 32).public_key
    assert not verify(PublicKey(PUBLIC), MESSAGE + b"x", decoded(SIGNATURE))
    assert not verify(other, MESSAGE, decoded(SIGNATURE))
    assert not verify(PublicKey(PUBLIC), MESSAGE, b"")
    assert not verify(PublicKey("AA"), MESSAGE, decoded(SIGNATURE))
