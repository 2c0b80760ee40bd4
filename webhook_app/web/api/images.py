"""`GET /v1/images/{image_id}`: one picture's facts. The picture itself is served elsewhere, without a key."""

from datetime import UTC, datetime

from flask import Flask
from flask.typing import ResponseReturnValue

from webhook_app.domain.errors import Erased, NotFound
from webhook_app.domain.job import Scope
from webhook_app.flows import show
from webhook_app.store import reads
from webhook_app.web.answers import ImageFacts
from webhook_app.web.auth import caller
from webhook_app.web.registry import Registry
from webhook_app.web.respond import json_response
from webhook_app.wiring import Parts, image_url


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """The route."""

    @registry.route(
        app,
        "GET",
        "/v1/images/<image_id>",
        scope=Scope.READ,
        summary="One picture's facts",
        answers={200: ImageFacts, 404: None, 410: None},
    )
    def get_image(image_id: str) -> ResponseReturnValue:
        """As in its job, and the job's `track_id`."""
        with parts.store.reading() as connection:
            row = reads.image(connection, image_id)
        if row is None or caller().sees not in (None, row["client_id"]):
            raise NotFound("There is no such picture.")
        if row["erased_at"] is not None:
            raise Erased("This picture has been erased.")
        shown = show.image(row, url=image_url(parts, image_id, datetime.now(UTC)))
        return json_response(shown | {"track_id": row["track_id"]})
