"""The provider's door: `POST /callbacks/{provider}/{track_id}/{token}`. The token decides, before anything is read."""

import threading
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from flask import Flask, request
from flask.typing import ResponseReturnValue

from webhook_app.domain.errors import NotFound
from webhook_app.domain.ids import is_track_id
from webhook_app.flows import spool
from webhook_app.flows.receive import Arrival, keep_raw, receive, without_secrets
from webhook_app.web.batcher import Batcher
from webhook_app.web.reading import raw_body
from webhook_app.web.registry import Registry
from webhook_app.web.respond import json_response
from webhook_app.web.spooling import drainer_of
from webhook_app.web.waiting import wakeups_of
from webhook_app.wiring import Parts, policy

LONGEST_HEADER = 500
# What tells who sent it, and when, under its name in WSGI (PEP 3333); the rest may hold somebody's credentials.
KEPT_HEADERS = {
    "CONTENT_TYPE": "content-type",
    "CONTENT_LENGTH": "content-length",
    "HTTP_USER_AGENT": "user-agent",
    "HTTP_DATE": "date",
    "HTTP_X_FORWARDED_FOR": "x-forwarded-for",
}
REFUSALS = "refusals"
FAILED = "the callback could not be applied when it came"


class Refusals:
    """How many callbacks with a bad token this process has turned away."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def add(self) -> None:
        with self._lock:
            self.count += 1


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """The route, with a batcher of its own in `app.extensions["batcher"]`."""
    batcher = app.extensions["batcher"] = make_batcher(app, parts)
    drainer_of(app, parts)
    refusals = refusals_of(app)

    @registry.route(
        app,
        "POST",
        "/callbacks/<provider>/<track_id>/<token>",
        scope=None,
        summary="Take a provider's callback",
        body="application/json",
        answers={200: "application/json", 404: None, 405: None, 413: None, 503: None},
    )
    def take_callback(provider: str, track_id: str, token: str) -> ResponseReturnValue:
        """Answers 200 whenever the callback is on record: the first, a double, a late one, an unreadable one. The
        address is the credential; a wrong one is a 404 like any other."""
        attempt = parts.tokens.check_callback(provider, track_id, token)
        if attempt is None or provider not in parts.providers or not is_track_id(track_id):
            refusals.add()
            raise NotFound("There is nothing at this address.")
        body = without_secrets(raw_body("A callback may have 1 MiB."), parts.providers[provider])
        batcher.put(_arrival(provider, track_id, attempt, body))
        return json_response({"status": "ok"})


def refusals_of(app: Flask) -> Refusals:
    """This application's count, made when first asked for."""
    found: Refusals = app.extensions.setdefault(REFUSALS, Refusals())
    return found


def make_batcher(app: Flask, parts: Parts) -> Batcher:
    """A batcher into this installation's database that wakes this process's waiters after each commit."""
    rules = policy(parts)
    wakeups = wakeups_of(app, parts)

    def receive_now(arrivals: Sequence[Arrival]) -> None:
        receive(parts.store, arrivals, parts.providers, datetime.now(UTC), rules)

    def keep(arrival: Arrival) -> None:
        keep_raw(parts.store, [arrival], problem=FAILED)

    def keep_in_spool(arrivals: Sequence[Arrival]) -> None:
        spool.keep(parts.spool, arrivals)
        drainer_of(app, parts).start()

    def committed(track_ids: Collection[str]) -> None:
        wakeups.notify(track_ids)

    return Batcher(receive_now, keep, committed, spool=keep_in_spool)


def _arrival(provider: str, track_id: str, attempt: int, body: bytes) -> Arrival:
    environ = request.environ
    return Arrival(
        provider=provider,
        track_id=track_id,
        attempt=attempt,
        body=body,
        content_type=request.content_type,
        headers={name: environ[key][:LONGEST_HEADER] for key, name in KEPT_HEADERS.items() if key in environ},
        remote_addr=request.remote_addr,
        received_at=datetime.now(UTC),
    )
