"""Clients and API keys, for admins. A key's secret is in the answer that makes it and nowhere else."""

from datetime import UTC, datetime
from typing import Annotated

from flask import Flask
from flask.typing import ResponseReturnValue
from pydantic import Field

from webhook_app.domain.errors import NotFound
from webhook_app.domain.job import Scope
from webhook_app.flows.keys import create_client, create_key, revoke_key
from webhook_app.store import reads
from webhook_app.web import paging, reading, representations
from webhook_app.web.answers import ClientAnswer, ClientList, KeyList, NewKeyAnswer
from webhook_app.web.auth import Authenticator
from webhook_app.web.registry import Registry
from webhook_app.web.respond import json_response
from webhook_app.web.schemas import Name, Strict
from webhook_app.wiring import Parts

ScopeName = Annotated[Scope, Field(strict=False)]


class NewKey(Strict):
    """A key for the client of this name, who is made when there is none."""

    client: Name
    name: Name = "api"
    scopes: Annotated[list[ScopeName], Field(min_length=1, max_length=3)] = Field(
        default_factory=lambda: [Scope.SUBMIT, Scope.READ]
    )


class NewClient(Strict):
    """A client by name; asked for again, it is the same one."""

    name: Name


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """The routes."""
    _lists(app, parts, registry)
    _post_key(app, parts, registry)
    _delete_key(app, parts, registry)
    _post_client(app, parts, registry)


def _lists(app: Flask, parts: Parts, registry: Registry) -> None:
    @registry.route(
        app,
        "GET",
        "/v1/keys",
        scope=Scope.ADMIN,
        summary="List API keys",
        query=paging.Page,
        answers={200: KeyList, 422: None},
    )
    def get_keys() -> ResponseReturnValue:
        """All keys, revoked ones too, oldest first."""
        listing = paging.Listing(parts, "keys", ("created_at", "key_id"))
        with parts.store.reading() as connection:
            rows = reads.keys(connection, after=paging.instant_and_id(listing.after), limit=listing.limit + 1)
        return listing.page(rows, representations.key)

    @registry.route(
        app,
        "GET",
        "/v1/clients",
        scope=Scope.ADMIN,
        summary="List clients",
        query=paging.Page,
        answers={200: ClientList, 422: None},
    )
    def get_clients() -> ResponseReturnValue:
        """All clients, oldest first."""
        listing = paging.Listing(parts, "clients", ("created_at", "client_id"))
        with parts.store.reading() as connection:
            rows = reads.clients(connection, after=paging.instant_and_id(listing.after), limit=listing.limit + 1)
        return listing.page(rows, representations.client)


def _post_key(app: Flask, parts: Parts, registry: Registry) -> None:
    @registry.route(
        app,
        "POST",
        "/v1/keys",
        scope=Scope.ADMIN,
        summary="Make an API key",
        body=NewKey,
        answers={201: NewKeyAnswer, 400: None, 415: None, 422: None},
    )
    def post_key() -> ResponseReturnValue:
        """`key` is shown once."""
        asked = reading.validated(NewKey, reading.json_body())
        key_id, secret = create_key(
            parts.store, client=asked.client, name=asked.name, scopes=asked.scopes, now=datetime.now(UTC)
        )
        with parts.store.reading() as connection:
            row = reads.key(connection, key_id)
        if row is None:
            raise NotFound("The key was removed meanwhile.")
        return json_response(representations.key(row) | {"key": secret}, 201)


def _delete_key(app: Flask, parts: Parts, registry: Registry) -> None:
    authenticator: Authenticator = app.extensions["authenticator"]

    @registry.route(
        app,
        "DELETE",
        "/v1/keys/<key_id>",
        scope=Scope.ADMIN,
        summary="Revoke an API key",
        answers={204: None, 404: None},
    )
    def delete_key(key_id: str) -> ResponseReturnValue:
        """For good; other processes of this installation follow within a second. Again is not an error."""
        if not revoke_key(parts.store, key_id, now=datetime.now(UTC)):
            raise NotFound("There is no such key.")
        authenticator.forget()
        return "", 204


def _post_client(app: Flask, parts: Parts, registry: Registry) -> None:
    @registry.route(
        app,
        "POST",
        "/v1/clients",
        scope=Scope.ADMIN,
        summary="Make a client",
        body=NewClient,
        answers={201: ClientAnswer, 200: ClientAnswer, 400: None, 415: None, 422: None},
    )
    def post_client() -> ResponseReturnValue:
        """200 with the client where the name is known already."""
        asked = reading.validated(NewClient, reading.json_body())
        with parts.store.reading() as connection:
            known = reads.client_by_name(connection, asked.name)
        if known is not None:
            return json_response(representations.client(known), 200)
        create_client(parts.store, name=asked.name, now=datetime.now(UTC))
        with parts.store.reading() as connection:
            made = reads.client_by_name(connection, asked.name)
        if made is None:
            raise NotFound("The client was removed meanwhile.")
        return json_response(representations.client(made), 201)
