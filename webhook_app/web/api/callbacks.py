"""Everything that providers sent, for admins: listed, shown raw, and read again by today's parser."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Literal

from flask import Flask
from flask.typing import ResponseReturnValue
from pydantic import AfterValidator, Field

from webhook_app.domain.advance import Verdict
from webhook_app.domain.errors import NotFound
from webhook_app.domain.ids import is_id, is_track_id
from webhook_app.domain.job import Scope
from webhook_app.flows.replay import replay
from webhook_app.store import reads
from webhook_app.web import paging, reading, representations
from webhook_app.web.answers import CallbackAnswer, ReceivedList, ReplayAnswer
from webhook_app.web.api.listing import Instant, Text
from webhook_app.web.auth import caller
from webhook_app.web.registry import Registry
from webhook_app.web.respond import json_response
from webhook_app.wiring import Parts, policy

NO_SUCH_CALLBACK = "There is no such callback."


def a_track_id(value: str) -> str:
    """The value, if it can be a track_id."""
    if not is_track_id(value):
        raise ValueError("Must be a job's track_id.")
    return value


class CallbackQuery(paging.Page):
    """Filters. Repeated `verdict` means any of them; different filters must all hold."""

    track_id: Annotated[str, AfterValidator(a_track_id)] | None = None
    verdict: list[Verdict] = Field(default_factory=list)
    provider: Text | None = None
    received_after: Annotated[Instant | None, Field(description="Inclusive.")] = None
    received_before: Annotated[Instant | None, Field(description="Exclusive.")] = None
    orphaned: Annotated[
        Literal["true", "false"] | None, Field(description="Whether the callback named no job of ours.")
    ] = None


class ReplayQuery(paging.Query):
    """Whether to change anything."""

    dry_run: Literal["true", "false"] = "false"


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """The routes."""
    _list(app, parts, registry)
    _one(app, parts, registry)
    _replay(app, parts, registry)


def _list(app: Flask, parts: Parts, registry: Registry) -> None:
    @registry.route(
        app,
        "GET",
        "/v1/callbacks",
        scope=Scope.ADMIN,
        summary="List everything that was received",
        query=CallbackQuery,
        answers={200: ReceivedList, 422: None},
    )
    def get_received() -> ResponseReturnValue:
        """Newest first, orphans included, without bodies and headers: one callback has those."""
        asked = reading.query(CallbackQuery)
        listing = paging.Listing(parts, "received", ("received_at", "callback_id"), asked)
        wanted = reads.CallbackFilter(
            track_id=asked.track_id,
            verdicts=[verdict.value for verdict in asked.verdict],
            provider=asked.provider,
            received_after=asked.received_after,
            received_before=asked.received_before,
            orphaned=None if asked.orphaned is None else asked.orphaned == "true",
            after=paging.instant_and_id(listing.after),
        )
        with parts.store.reading() as connection:
            rows = reads.callbacks(connection, wanted, limit=listing.limit + 1)
        return listing.page(rows, representations.received)


def _one(app: Flask, parts: Parts, registry: Registry) -> None:
    @registry.route(
        app,
        "GET",
        "/v1/callbacks/<callback_id>",
        scope=Scope.ADMIN,
        summary="One callback, raw",
        answers={200: CallbackAnswer, 404: None},
    )
    def get_callback(callback_id: str) -> ResponseReturnValue:
        """With its body as it is kept: text, or base64 where it is not UTF-8; null once it is erased."""
        _known(callback_id)
        with parts.store.reading() as connection:
            row = reads.callback(connection, callback_id)
        if row is None:
            raise NotFound(NO_SUCH_CALLBACK)
        return json_response(representations.callback(row))


def _replay(app: Flask, parts: Parts, registry: Registry) -> None:
    rules = policy(parts)

    @registry.route(
        app,
        "POST",
        "/v1/callbacks/<callback_id>/replay",
        scope=Scope.ADMIN,
        summary="Read a callback again",
        query=ReplayQuery,
        answers={200: ReplayAnswer, 404: None, 410: None, 422: None},
    )
    def post_replay(callback_id: str) -> ResponseReturnValue:
        """By today's parser, for the job as it is now. `dry_run=true` says what would change, and changes nothing."""
        asked = reading.query(ReplayQuery)
        _known(callback_id)
        done = replay(
            parts.store,
            callback_id,
            parts.providers,
            by=f"key:{caller().key_id}",
            dry_run=asked.dry_run == "true",
            policy=rules,
            now=datetime.now(UTC),
        )
        return json_response(asdict(done))


def _known(callback_id: str) -> None:
    if not is_id("cb", callback_id):
        raise NotFound(NO_SUCH_CALLBACK)
