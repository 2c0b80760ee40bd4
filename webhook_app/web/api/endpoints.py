"""Standing webhooks: a client's URLs and what it wants to be told there. A secret is in the answer that makes it and
nowhere else."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from flask import Flask
from flask.typing import ResponseReturnValue
from pydantic import ConfigDict, Field

from webhook_app.domain.errors import EndpointNotActive, NotFound
from webhook_app.domain.ids import is_id
from webhook_app.domain.job import Scope
from webhook_app.flows import subscribe
from webhook_app.store import reads
from webhook_app.web import paging, reading, representations
from webhook_app.web.api.listing import Instant
from webhook_app.web.auth import caller
from webhook_app.web.registry import Registry
from webhook_app.web.respond import json_response
from webhook_app.web.schemas import EventName, Strict, WebhookUrl, Whole
from webhook_app.web.webhook_answers import (
    DeliveryAnswer,
    EndpointAnswer,
    EndpointList,
    NewEndpointAnswer,
    RecoveringAnswer,
)
from webhook_app.wiring import Parts

Events = Annotated[list[EventName], Field(min_length=1, max_length=50)]
Description = Annotated[str, Field(max_length=200)]
ID = "/v1/endpoints/<endpoint_id>"


class NewEndpoint(Strict):
    """Where to send, and which events; without `events` the ends of jobs, their archives and batches."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"url": "https://client.example/hooks", "events": ["job.succeeded"]}]}
    )

    url: WebhookUrl
    events: Events | None = None
    description: Description | None = None


class EndpointChange(Strict):
    """What is not given stays; null takes a choice of events or a description back, and leaves the URL."""

    url: WebhookUrl | None = None
    events: Events | None = None
    description: Description | None = None


class Rotation(Strict):
    """How long the old secret signs too, in seconds."""

    overlap_s: Annotated[Whole, Field(ge=0, le=2_592_000)] = 86_400


class Recovery(Strict):
    """From when on; inclusive."""

    since: Instant


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """The routes."""
    _collection(app, parts, registry)
    _read(app, parts, registry)
    _change(app, parts, registry)
    _secret(app, parts, registry)
    _send(app, parts, registry)


def _collection(app: Flask, parts: Parts, registry: Registry) -> None:
    @registry.route(
        app,
        "POST",
        "/v1/endpoints",
        scope=Scope.SUBMIT,
        summary="Make an endpoint",
        body=NewEndpoint,
        answers={201: NewEndpointAnswer, 400: None, 415: None, 422: None},
    )
    def post_endpoint() -> ResponseReturnValue:
        """`secret` is shown once. The same URL gets an event once, however many endpoints name it."""
        asked = reading.validated(NewEndpoint, reading.json_body())
        wanted = subscribe.NewEndpoint(asked.url, _words(asked.events), asked.description)
        endpoint_id, secret = subscribe.subscribe(
            parts.store, parts.vault, wanted, client_id=caller().client_id, now=datetime.now(UTC)
        )
        location = {"Location": f"{parts.settings.public_url}/v1/endpoints/{endpoint_id}"}
        return json_response(_shown(parts, endpoint_id) | {"secret": secret}, 201, location)

    @registry.route(
        app,
        "GET",
        "/v1/endpoints",
        scope=Scope.READ,
        summary="List endpoints",
        query=paging.Page,
        answers={200: EndpointList, 422: None},
    )
    def get_endpoints() -> ResponseReturnValue:
        """The caller's, an admin's everyone's; oldest first."""
        listing = paging.Listing(parts, "endpoints", ("created_at", "endpoint_id"))
        after = paging.instant_and_id(listing.after)
        with parts.store.reading() as connection:
            rows = reads.endpoints(connection, caller().sees, after=after, limit=listing.limit + 1)
        return listing.page(rows, representations.endpoint)


def _read(app: Flask, parts: Parts, registry: Registry) -> None:
    @registry.route(app, "GET", ID, scope=Scope.READ, summary="One endpoint", answers={200: EndpointAnswer, 404: None})
    def get_endpoint(endpoint_id: str) -> ResponseReturnValue:
        """Without its secret."""
        return json_response(_shown(parts, endpoint_id))

    @registry.route(app, "DELETE", ID, scope=Scope.SUBMIT, summary="Remove an endpoint", answers={204: None, 404: None})
    def delete_endpoint(endpoint_id: str) -> ResponseReturnValue:
        """What still waits for it ends; the log of what was sent stays."""
        _shown(parts, endpoint_id)
        subscribe.unsubscribe(parts.store, endpoint_id, now=datetime.now(UTC))
        return "", 204


def _change(app: Flask, parts: Parts, registry: Registry) -> None:
    @registry.route(
        app,
        "PATCH",
        ID,
        scope=Scope.SUBMIT,
        summary="Change an endpoint",
        body=EndpointChange,
        answers={200: EndpointAnswer, 400: None, 404: None, 415: None, 422: None},
    )
    def patch_endpoint(endpoint_id: str) -> ResponseReturnValue:
        """From the next event on. What still waits for an old URL ends: `recover` sends it to the new one."""
        _shown(parts, endpoint_id)
        asked = reading.validated(EndpointChange, reading.json_body())
        said = asked.model_dump(exclude_unset=True, exclude={"url"} if asked.url is None else None)
        if "events" in said:
            said["events"] = _words(asked.events)
        subscribe.change(parts.store, endpoint_id, said, now=datetime.now(UTC))
        return json_response(_shown(parts, endpoint_id))

    @registry.route(
        app,
        "POST",
        f"{ID}/enable",
        scope=Scope.SUBMIT,
        summary="Send to an endpoint again",
        answers={200: EndpointAnswer, 404: None},
    )
    def post_enable(endpoint_id: str) -> ResponseReturnValue:
        """From the next event on; may be repeated. `recover` sends what it has missed."""
        _shown(parts, endpoint_id)
        subscribe.enable(parts.store, endpoint_id)
        return json_response(_shown(parts, endpoint_id))


def _secret(app: Flask, parts: Parts, registry: Registry) -> None:
    @registry.route(
        app,
        "POST",
        f"{ID}/rotate-secret",
        scope=Scope.SUBMIT,
        summary="Give an endpoint a new secret",
        body=Rotation,
        answers={200: NewEndpointAnswer, 400: None, 404: None, 415: None, 422: None},
    )
    def post_rotate(endpoint_id: str) -> ResponseReturnValue:
        """`secret` is shown once. For `overlap_s` seconds the old one signs too: two signatures are sent."""
        _shown(parts, endpoint_id)
        asked = reading.validated(Rotation, reading.optional_json_body())
        overlap = timedelta(seconds=asked.overlap_s)
        secret = subscribe.rotate(parts.store, parts.vault, endpoint_id, overlap=overlap, now=datetime.now(UTC))
        return json_response(_shown(parts, endpoint_id) | {"secret": secret})


def _send(app: Flask, parts: Parts, registry: Registry) -> None:
    @registry.route(
        app,
        "POST",
        f"{ID}/test",
        scope=Scope.SUBMIT,
        summary="Send a test",
        answers={202: DeliveryAnswer, 404: None},
    )
    def post_test(endpoint_id: str) -> ResponseReturnValue:
        """One signed `endpoint.test`, once, also to a disabled endpoint; the delivery tells what came of it."""
        _shown(parts, endpoint_id)
        delivery_id = subscribe.test(parts.store, endpoint_id, now=datetime.now(UTC))
        with parts.store.reading() as connection:
            row = reads.delivery(connection, delivery_id, None)
        if row is None:
            raise NotFound("The delivery was removed meanwhile.")
        location = {"Location": f"{parts.settings.public_url}/v1/deliveries/{delivery_id}"}
        return json_response(representations.delivery(row), 202, location)

    @registry.route(
        app,
        "POST",
        f"{ID}/recover",
        scope=Scope.SUBMIT,
        summary="Send what an endpoint has missed",
        body=Recovery,
        answers={202: RecoveringAnswer, 400: None, 404: None, 409: None, 415: None, 422: None},
    )
    def post_recover(endpoint_id: str) -> ResponseReturnValue:
        """Every event since then that it wants and has not got, with the ids of the first time; a worker does it."""
        shown = _shown(parts, endpoint_id)
        asked = reading.validated(Recovery, reading.json_body())
        if shown["disabled_at"] is not None:
            raise EndpointNotActive("The endpoint is disabled: enable it first.")
        subscribe.recover(parts.store, endpoint_id, since=asked.since)
        return json_response({"endpoint_id": endpoint_id, "since": asked.since}, 202)


def _shown(parts: Parts, endpoint_id: str) -> dict[str, Any]:
    row = None
    if is_id("ep", endpoint_id):
        with parts.store.reading() as connection:
            row = reads.endpoint(connection, endpoint_id, caller().sees)
    if row is None:
        raise NotFound(subscribe.NO_SUCH_ENDPOINT)
    return representations.endpoint(row)


def _words(events: list[Any] | None) -> list[str] | None:
    return None if events is None else [str(event) for event in dict.fromkeys(events)]
