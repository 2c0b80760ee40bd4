"""The log of our webhooks: each event on its way to each URL, with every try, and sending one again."""

from datetime import UTC, datetime
from typing import Annotated, Any

from flask import Flask
from flask.typing import ResponseReturnValue
from pydantic import AfterValidator, Field

from webhook_app.domain.errors import NotFound
from webhook_app.domain.ids import is_id
from webhook_app.domain.job import Scope
from webhook_app.domain.webhooks import DeliveryStatus
from webhook_app.flows import redeliver
from webhook_app.store import reads
from webhook_app.web import paging, reading, representations
from webhook_app.web.api.callbacks import a_track_id
from webhook_app.web.api.listing import Text
from webhook_app.web.auth import caller
from webhook_app.web.registry import Registry
from webhook_app.web.respond import json_response
from webhook_app.web.webhook_answers import DeliveryList, WholeDeliveryAnswer
from webhook_app.wiring import Parts


class DeliveryQuery(paging.Page):
    """Filters. Repeated `status` means any of them; different filters must all hold."""

    track_id: Annotated[str, AfterValidator(a_track_id)] | None = None
    endpoint_id: Text | None = None
    status: list[DeliveryStatus] = Field(default_factory=list)


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """The routes."""
    _list(app, parts, registry)
    _one(app, parts, registry)


def _list(app: Flask, parts: Parts, registry: Registry) -> None:
    @registry.route(
        app,
        "GET",
        "/v1/deliveries",
        scope=Scope.READ,
        summary="List deliveries",
        query=DeliveryQuery,
        answers={200: DeliveryList, 422: None},
    )
    def get_deliveries() -> ResponseReturnValue:
        """The caller's, an admin's everyone's; newest first, without bodies."""
        asked = reading.query(DeliveryQuery)
        listing = paging.Listing(parts, "deliveries", ("created_at", "delivery_id"), asked)
        wanted = reads.DeliveryFilter(
            client_id=caller().sees,
            track_id=asked.track_id,
            endpoint_id=asked.endpoint_id,
            statuses=[status.value for status in asked.status],
            after=paging.instant_and_id(listing.after),
        )
        with parts.store.reading() as connection:
            rows = reads.deliveries(connection, wanted, limit=listing.limit + 1)
        return listing.page(rows, representations.delivery)


def _one(app: Flask, parts: Parts, registry: Registry) -> None:
    @registry.route(
        app,
        "GET",
        "/v1/deliveries/<delivery_id>",
        scope=Scope.READ,
        summary="One delivery",
        answers={200: WholeDeliveryAnswer, 404: None},
    )
    def get_delivery(delivery_id: str) -> ResponseReturnValue:
        """With its body and every try: status, duration and how the answer began."""
        return json_response(_shown(parts, delivery_id))

    @registry.route(
        app,
        "POST",
        "/v1/deliveries/<delivery_id>/retry",
        scope=Scope.SUBMIT,
        summary="Send a delivery again",
        answers={202: WholeDeliveryAnswer, 404: None, 409: None, 410: None},
    )
    def post_retry(delivery_id: str) -> ResponseReturnValue:
        """Now, with the same `webhook-id` and body, also one that succeeded."""
        _shown(parts, delivery_id)
        redeliver.retry(parts.store, delivery_id, now=datetime.now(UTC))
        return json_response(_shown(parts, delivery_id), 202)


def _shown(parts: Parts, delivery_id: str) -> dict[str, Any]:
    row, attempts = None, []
    if is_id("dlv", delivery_id):
        with parts.store.reading() as connection:
            row = reads.delivery(connection, delivery_id, caller().sees)
            attempts = reads.attempts_at_delivery(connection, delivery_id)
    if row is None:
        raise NotFound("There is no such delivery.")
    tries = [representations.delivery_attempt(each) for each in attempts]
    return representations.delivery(row) | {"body": row["body"], "attempts": tries}
