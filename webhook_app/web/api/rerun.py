"""`POST /v1/jobs/{track_id}/rerun`: the same job again, as a new one."""

from typing import Annotated, Any

from flask import Flask
from flask.typing import ResponseReturnValue
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema

from webhook_app.domain.job import Scope
from webhook_app.web import reading
from webhook_app.web.answers import JobAnswer
from webhook_app.web.api.submit import HONOURED, taken
from webhook_app.web.asking import idempotency_of, job_request
from webhook_app.web.registry import Registry
from webhook_app.web.schemas import LARGEST_SEED, Strict, job_of, whole_or_text
from webhook_app.web.showing import own_job
from webhook_app.wiring import Parts

SAME, NEW = "same", "new"
INHERITED = ("provider", "model", "reference", "webhook", "webhook_events", "metadata", "tags", "priority", "timeout_s")


def _choice(value: Any) -> Any:
    if value not in (SAME, NEW) and (type(value) is not int or not 0 <= value <= LARGEST_SEED):
        raise ValueError(f'Must be "same", "new", or a whole number from 0 to {LARGEST_SEED}.')
    return value


SEED = {"anyOf": [{"enum": [SAME, NEW]}, {"type": "integer", "minimum": 0, "maximum": LARGEST_SEED}]}


class RerunBody(Strict):
    """Which seed, and members of the job's `input` that replace its own; null takes one out."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"seed": "new", "input": {"width": 768}}]})

    seed: Annotated[Any, BeforeValidator(whole_or_text), AfterValidator(_choice), WithJsonSchema(SEED)] = SAME
    input: Annotated[dict[str, Any], Field(default_factory=dict, description="Overrides.")]


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """The route."""

    @registry.route(
        app,
        "POST",
        "/v1/jobs/<track_id>/rerun",
        scope=Scope.SUBMIT,
        summary="Run a job again",
        body=RerunBody,
        headers=HONOURED,
        answers=dict.fromkeys((202, 201), JobAnswer) | dict.fromkeys((400, 404, 409, 410, 413, 415, 422, 429)),
    )
    def post_rerun(track_id: str) -> ResponseReturnValue:
        """A new job with `parent_track_id`, whatever became of the old one. It has everything that the old one had:
        model, input, reference, webhook and its events, metadata, tags, priority and timeout; but no batch. `seed` same
        is the one that the provider used, so that the picture is the same. It belongs to the old one's client."""
        body = reading.optional_json_body()
        asked = reading.validated(RerunBody, body)
        with parts.store.looking() as connection:
            job = own_job(connection, track_id)
        request = job_request(parts, job_of(_again(job, asked)), parent_track_id=track_id)
        return taken(app, parts, request, idempotency_of(body), client_id=job["client_id"])


def _again(job: dict[str, Any], asked: RerunBody) -> dict[str, Any]:
    """What a client would submit for it."""
    if "seed" in asked.input:
        reading.refuse([{"pointer": "/input/seed", "message": "Say it as `seed`, beside `input`."}])
    return {name: job[name] for name in INHERITED} | {"input": job["input"] | asked.input | {"seed": _seed(job, asked)}}


def _seed(job: dict[str, Any], asked: RerunBody) -> int | None:
    if asked.seed == NEW:
        return None
    if asked.seed != SAME:
        return int(asked.seed)
    # A provider may say of a seed what it would not take itself.
    used: int | None = job["seed"]
    asked_for: int | None = job["input"].get("seed")
    return used if used is not None and 0 <= used <= LARGEST_SEED else asked_for
