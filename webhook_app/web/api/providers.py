"""Providers, for admins: how full they are, whether they are paused and why, and the two switches."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from flask import Flask, Response
from flask.typing import ResponseReturnValue
from pydantic import Field

from webhook_app.domain.errors import InvalidField, NotFound
from webhook_app.domain.job import Scope
from webhook_app.flows import pausing
from webhook_app.store import reads
from webhook_app.web import paging, reading, representations
from webhook_app.web.answers import ProviderAnswer, ProviderList
from webhook_app.web.api.listing import Instant
from webhook_app.web.auth import caller
from webhook_app.web.registry import Registry
from webhook_app.web.respond import json_response
from webhook_app.web.schemas import Name, Strict
from webhook_app.wiring import Parts, policy

BY_HAND = "by_hand"
LONGEST_PAUSE = timedelta(days=366)


class NewPause(Strict):
    """Why, and until when: without it, until somebody resumes the provider."""

    reason: Name = BY_HAND
    until: Annotated[Instant | None, Field(description="In the future, within a year.")] = None


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """The routes."""
    _list(app, parts, registry)
    _switches(app, parts, registry)


def _list(app: Flask, parts: Parts, registry: Registry) -> None:
    @registry.route(
        app,
        "GET",
        "/v1/providers",
        scope=Scope.ADMIN,
        summary="List providers",
        answers={200: ProviderList},
    )
    def get_providers() -> ResponseReturnValue:
        """All of them on one page. `queued` and `in_flight` are counted up to 10,000."""
        with parts.store.reading() as connection:
            rows = reads.providers(connection, parts.providers, now=datetime.now(UTC))
        shown = [representations.provider(row, max_in_flight=policy(parts).max_in_flight) for row in rows]
        return paging.page(parts.settings.public_url, shown, None)


def _switches(app: Flask, parts: Parts, registry: Registry) -> None:
    @registry.route(
        app,
        "POST",
        "/v1/providers/<name>/pause",
        scope=Scope.ADMIN,
        summary="Pause a provider",
        body=NewPause,
        answers={200: ProviderAnswer, 400: None, 404: None, 415: None, 422: None},
    )
    def post_pause(name: str) -> ResponseReturnValue:
        """Nothing is sent to it until then; what it has in hand goes on. A longer pause is not shortened by this."""
        _known(parts, name)
        asked = reading.validated(NewPause, reading.optional_json_body())
        now = datetime.now(UTC)
        if asked.until is not None and not now < asked.until < now + LONGEST_PAUSE:
            raise InvalidField("Must be in the future, within a year.", pointer="/until")
        by = f"key:{caller().key_id}"
        pausing.pause(parts.store, name, reason=asked.reason, by=by, until=asked.until, now=now)
        return _shown(parts, name)

    @registry.route(
        app,
        "POST",
        "/v1/providers/<name>/resume",
        scope=Scope.ADMIN,
        summary="Resume a provider",
        answers={200: ProviderAnswer, 404: None},
    )
    def post_resume(name: str) -> ResponseReturnValue:
        """End its pause, whoever began it; without one nothing changes."""
        _known(parts, name)
        pausing.resume(parts.store, name, by=f"key:{caller().key_id}", now=datetime.now(UTC))
        return _shown(parts, name)


def _known(parts: Parts, name: str) -> None:
    if name not in parts.providers:
        raise NotFound("There is no such provider.")


def _shown(parts: Parts, name: str) -> Response:
    with parts.store.reading() as connection:
        (row,) = reads.providers(connection, [name], now=datetime.now(UTC))
    return json_response(representations.provider(row, max_in_flight=policy(parts).max_in_flight))
