"""`GET /v1/jobs/{track_id}/explain`: why a job stands where it stands, in words."""

from dataclasses import asdict
from datetime import UTC, datetime

from flask import Flask
from flask.typing import ResponseReturnValue

from webhook_app.domain.job import Scope
from webhook_app.flows.explain import explained
from webhook_app.web.answers import ExplanationAnswer
from webhook_app.web.auth import caller
from webhook_app.web.registry import Registry
from webhook_app.web.respond import json_response
from webhook_app.web.showing import own_job
from webhook_app.wiring import Parts, policy


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """The route."""

    @registry.route(
        app,
        "GET",
        "/v1/jobs/<track_id>/explain",
        scope=Scope.READ,
        summary="Why a job stands where it stands",
        answers={200: ExplanationAnswer, 404: None, 410: None},
    )
    def get_explanation(track_id: str) -> ResponseReturnValue:
        """A sentence with the verdict, one with the next step and when that is, and what happened so far. The words are
        for people and may change; `status`, `waiting_for` and `next_at` are for programs."""
        now = datetime.now(UTC)
        with parts.store.reading() as connection:
            job = own_job(connection, track_id)
            found = explained(connection, job, policy(parts), names_reasons=caller().is_admin, now=now)
        return json_response(
            {"track_id": track_id, "status": job["status"], "waiting_for": found.waiting_for}
            | asdict(found.explanation)
            | {"timeline": [asdict(step) for step in found.timeline]}
        )
