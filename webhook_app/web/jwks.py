"""`/.well-known/jwks.json`: the public keys that sign the log's heads, old ones too (RFC 7517, RFC 8037)."""

from flask import Flask
from flask.typing import ResponseReturnValue
from pydantic import BaseModel

from webhook_app.store import reads
from webhook_app.web.registry import Registry
from webhook_app.web.respond import json_response
from webhook_app.wiring import Parts, signer_of

KEPT = "public, max-age=300"


class Jwk(BaseModel):
    """An Ed25519 public key; `kid` is its thumbprint (RFC 7638)."""

    kty: str
    crv: str
    x: str
    kid: str
    alg: str
    use: str


class Jwks(BaseModel):
    keys: list[Jwk]


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """The one route."""

    @registry.route(
        app,
        "GET",
        "/.well-known/jwks.json",
        scope=None,
        summary="The keys that sign the log",
        answers={200: Jwks, 503: None},
    )
    def get_jwks() -> ResponseReturnValue:
        """Every key that ever signed a head of this log, and the one that signs the next, which comes first."""
        own = signer_of(parts.settings).public_key
        with parts.store.looking() as connection:
            known = reads.signing_keys(connection)
        keys = [own.jwk, *(key.jwk for key in known if key != own)]
        return json_response({"keys": keys}, headers={"Cache-Control": KEPT})
