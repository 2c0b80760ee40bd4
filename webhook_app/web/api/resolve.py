"""`POST /v1/jobs/{track_id}/resolve`: somebody decides about a submit of which nobody knows what became of it."""

from datetime import UTC, datetime
from typing import Annotated

from flask import Flask
from flask.typing import ResponseReturnValue
from pydantic import Field

from webhook_app.domain.job import Decision, Scope
from webhook_app.flows.unconfirmed import resolve
from webhook_app.web import reading
from webhook_app.web.answers import JobAnswer
from webhook_app.web.auth import caller
from webhook_app.web.registry import Registry
from webhook_app.web.schemas import Strict
from webhook_app.web.showing import answers_of, own_job
from webhook_app.wiring import Parts


class Resolution(Strict):
    """`repeat` sends the job again with the same seed, and may be paid twice; `fail` ends it."""

    decision: Annotated[Decision, Field(strict=False)]


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """The route."""

    @registry.route(
        app,
        "POST",
        "/v1/jobs/<track_id>/resolve",
        scope=Scope.ADMIN,
        summary="Decide about an unconfirmed submit",
        body=Resolution,
        answers={200: JobAnswer, 400: None, 404: None, 409: None, 410: None, 415: None, 422: None},
    )
    def post_resolve(track_id: str) -> ResponseReturnValue:
        """For a job with `waiting_for: confirmation`, any client's. `job_already_ended` or `not_on_hold` otherwise."""
        asked = reading.validated(Resolution, reading.json_body())
        with parts.store.reading() as connection:
            own_job(connection, track_id)
        by = f"key:{caller().key_id}"
        resolve(parts.store, track_id, decision=asked.decision, by=by, now=datetime.now(UTC))
        return answers_of(app, parts).response(track_id)
