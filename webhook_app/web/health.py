"""Probes: is the process there, can it keep a callback, and does the public address lead here."""

import os
import re
from datetime import UTC, datetime
from pathlib import Path

from flask import Flask, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, Field

from webhook_app import __version__
from webhook_app.domain.errors import DatabaseUnavailable, InvalidField, StorageError
from webhook_app.store import reads
from webhook_app.web.registry import Registry
from webhook_app.web.respond import json_response
from webhook_app.web.waiting import waiting_of
from webhook_app.wiring import Parts

NONCE = re.compile(r"[A-Za-z0-9_-]{1,64}")
CAN_KEEP = frozenset({"ready", "degraded"})
DOCTOR = "doctor"  # The purpose of the signature; `webhook-app doctor` checks it with the same one.


class Health(BaseModel):
    """The process runs."""

    status: str = "ok"


class Spool(BaseModel):
    """Callbacks kept in a file while the database was away. `writable` False: the directory cannot take any."""

    entries: int
    writable: bool


class Readiness(BaseModel):
    """`status` is ready, degraded, unavailable or draining; `database` ok, down or behind. `sealer_lag_s` is the age of
    the oldest event that has no number yet, 0 without any, null where nobody can say."""

    status: str
    database: str
    sealer_lag_s: float | None
    spool: Spool
    version: str


class NonceQuery(BaseModel):
    nonce: str = Field(pattern=f"^{NONCE.pattern}$", description="Text to sign.")


class SignedNonce(BaseModel):
    """Proof that a process with this installation's secret answers here."""

    nonce: str
    signature: str


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """`/healthz`, `/readyz` and doctor's nonce."""
    _register_probes(app, parts, registry)

    @registry.route(
        app,
        "GET",
        "/.well-known/webhook-app/nonce",
        scope=None,
        summary="Sign a nonce",
        query=NonceQuery,
        answers={200: SignedNonce, 422: None},
    )
    def sign_nonce() -> ResponseReturnValue:
        """How `webhook-app doctor` finds out whether the public address leads to this installation."""
        nonce = request.args.get("nonce", "")
        if not NONCE.fullmatch(nonce):
            raise InvalidField("nonce takes 1 to 64 of the characters A-Z a-z 0-9 _ -.", pointer="/nonce")
        return json_response({"nonce": nonce, "signature": parts.tokens.sign(DOCTOR, nonce)})


def _register_probes(app: Flask, parts: Parts, registry: Registry) -> None:
    waiting = waiting_of(app, parts)

    @registry.route(app, "GET", "/healthz", scope=None, summary="Whether the process runs", answers={200: Health})
    def get_health() -> ResponseReturnValue:
        """Touches nothing: it answers while the database is away."""
        return json_response({"status": "ok"})

    @registry.route(
        app,
        "GET",
        "/readyz",
        scope=None,
        summary="Whether this process can take a callback",
        answers={200: Readiness, 503: Readiness},
    )
    def get_readiness() -> ResponseReturnValue:
        """503 when neither the database nor the spool could keep a callback, or when the process is about to end."""
        (database, lag_s), spool = database_state(parts, datetime.now(UTC)), spool_state(parts)
        status = "draining" if waiting.draining else _status(database, spool)
        found = Readiness(status=status, database=database, sealer_lag_s=lag_s, spool=spool, version=__version__)
        return json_response(found.model_dump(), 200 if status in CAN_KEEP else 503)


def _status(database: str, spool: Spool) -> str:
    if database == "ok":
        return "ready" if spool.writable else "degraded"
    return "degraded" if spool.writable else "unavailable"


def spool_state(parts: Parts) -> Spool:
    """How much waits there, and whether it could take more."""
    try:
        return Spool(entries=parts.spool.entries(), writable=is_writable(parts.settings.spool_dir))
    except StorageError:
        return Spool(entries=0, writable=False)


def database_state(parts: Parts, now: datetime) -> tuple[str, float | None]:
    """`ok`, `behind` for a database that needs an upgrade, `down` for none that answers; and the sealer's lag."""
    try:
        with parts.store.reading() as connection:
            if not reads.is_upgraded(connection):
                return "behind", None
            oldest = reads.oldest_unsealed(connection)
            return "ok", 0.0 if oldest is None else max((now - oldest).total_seconds(), 0.0)
    except DatabaseUnavailable:
        return "down", None


def is_writable(directory: Path) -> bool:
    """Whether files can be made in this directory, or it in the first one above that exists."""
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    return directory.is_dir() and os.access(directory, os.W_OK | os.X_OK)
