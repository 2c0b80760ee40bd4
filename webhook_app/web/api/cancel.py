"""`POST /v1/jobs/{track_id}/cancel`: stop waiting for a job."""

from datetime import UTC, datetime

from flask import Flask
from flask.typing import ResponseReturnValue

from webhook_app.domain.job import Scope
from webhook_app.flows.cancel import cancel
from webhook_app.web.answers import JobAnswer
from webhook_app.web.auth import caller
from webhook_app.web.registry import Registry
from webhook_app.web.showing import answers_of, own_job
from webhook_app.wiring import Parts


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """The route."""

    @registry.route(
        app,
        "POST",
        "/v1/jobs/<track_id>/cancel",
        scope=Scope.SUBMIT,
        summary="Cancel a job",
        answers={200: JobAnswer, 404: None, 409: None, 410: None},
    )
    def post_cancel(track_id: str) -> ResponseReturnValue:
        """May be repeated; `job_already_ended` when it ended otherwise. What is with the provider already may still be
        charged, and its pictures are not kept."""
        with parts.store.reading() as connection:
            own_job(connection, track_id)
        cancel(parts.store, track_id, by=f"key:{caller().key_id}", now=datetime.now(UTC))
        return answers_of(app, parts).response(track_id)
