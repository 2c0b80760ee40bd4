"""The secret that signs what goes to the URLs of a client's jobs (`webhook`): one for each client."""

from datetime import UTC, datetime, timedelta

from flask import Flask
from flask.typing import ResponseReturnValue

from webhook_app.domain.job import Scope
from webhook_app.flows import subscribe
from webhook_app.web import reading
from webhook_app.web.api.endpoints import Rotation
from webhook_app.web.auth import caller
from webhook_app.web.registry import Registry
from webhook_app.web.respond import json_response
from webhook_app.web.webhook_answers import SecretAnswer
from webhook_app.wiring import Parts

SECRET = "/v1/webhooks/default/secret"  # noqa: S105 - a path


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """The routes."""

    @registry.route(
        app, "GET", SECRET, scope=Scope.SUBMIT, summary="The default webhook secret", answers={200: SecretAnswer}
    )
    def get_secret() -> ResponseReturnValue:
        """The caller's own client's; made when it is first asked for or needed."""
        key = subscribe.show_default_secret(parts.store, parts.vault, caller().client_id, now=datetime.now(UTC))
        return json_response({"key": key})

    @registry.route(
        app,
        "POST",
        f"{SECRET}/rotate",
        scope=Scope.SUBMIT,
        summary="Give the client a new default webhook secret",
        body=Rotation,
        answers={200: SecretAnswer, 400: None, 415: None, 422: None},
    )
    def post_secret_rotate() -> ResponseReturnValue:
        """For `overlap_s` seconds the old one signs too: two signatures are sent."""
        asked = reading.validated(Rotation, reading.optional_json_body())
        overlap = timedelta(seconds=asked.overlap_s)
        key = subscribe.rotate_default_secret(
            parts.store, parts.vault, caller().client_id, overlap=overlap, now=datetime.now(UTC)
        )
        return json_response({"key": key})
