"""Erasing: one job, or all that a filter finds. From the answer on they are gone; a worker takes out what they hold."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any

from flask import Flask
from flask.typing import ResponseReturnValue
from pydantic import AfterValidator, ConfigDict, Field, model_validator

from webhook_app.domain.errors import InsufficientScope, NotFound
from webhook_app.domain.ids import is_id, is_track_id
from webhook_app.domain.job import Scope
from webhook_app.flows.erase import Wanted, erase_job, erase_many
from webhook_app.store import reads
from webhook_app.web import reading, representations
from webhook_app.web.answers import ErasingAnswer, ErasureAnswer
from webhook_app.web.api.listing import Instant, Text
from webhook_app.web.auth import Caller, caller
from webhook_app.web.registry import Registry
from webhook_app.web.respond import json_response
from webhook_app.web.schemas import Strict
from webhook_app.web.showing import NO_SUCH_JOB
from webhook_app.wiring import Parts

Scalar = str | int | float | bool


def _named(metadata: dict[str, Scalar]) -> dict[str, Scalar]:
    if not metadata or any(not name or '"' in name for name in metadata):
        raise ValueError("Name members of the metadata, without quotes.")
    return metadata


class ErasureFilter(Strict):
    """Which jobs: all conditions hold, and one at least is needed."""

    reference: Text | None = None
    tag: Text | None = None
    metadata: Annotated[dict[str, Scalar], AfterValidator(_named)] | None = None
    client_id: Annotated[Text | None, Field(description="Scope admin only.")] = None
    created_before: Annotated[Instant | None, Field(description="Exclusive.")] = None

    @model_validator(mode="after")
    def _restricts(self) -> "ErasureFilter":
        if not self.model_dump(exclude_none=True):
            raise ValueError("Give one condition at least.")
        return self


class ErasureRequest(Strict):
    """With `dry_run` they are counted, and nothing is erased."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"filter": {"reference": "order-42"}, "dry_run": True}]})

    filter: ErasureFilter
    dry_run: bool = False


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """The routes."""
    _one_job(app, parts, registry)
    _many_jobs(app, parts, registry)
    _show(app, parts, registry)


def _one_job(app: Flask, parts: Parts, registry: Registry) -> None:
    @registry.route(
        app,
        "DELETE",
        "/v1/jobs/<track_id>",
        scope=Scope.SUBMIT,
        summary="Erase a job",
        answers={202: ErasureAnswer, 404: None},
    )
    def delete_job(track_id: str) -> ResponseReturnValue:
        """Whatever it holds, for good: its status, numbers and times stay. A running job is canceled first. Again: the
        same erasure, as it is by then."""
        who = caller()
        with parts.store.reading() as connection:
            row = reads.job(connection, track_id, who.sees) if is_track_id(track_id) else None
        if row is None:
            raise NotFound(NO_SUCH_JOB)
        erasure_id = erase_job(parts.store, track_id, by=f"key:{who.key_id}", now=datetime.now(UTC))
        return json_response(_shown(parts, erasure_id), 202, _location(parts, erasure_id))


def _many_jobs(app: Flask, parts: Parts, registry: Registry) -> None:
    @registry.route(
        app,
        "POST",
        "/v1/erasures",
        scope=Scope.SUBMIT,
        summary="Erase many jobs",
        body=ErasureRequest,
        answers={202: ErasingAnswer, 400: None, 403: None, 415: None, 422: None},
    )
    def post_erasure() -> ResponseReturnValue:
        """The caller's, an admin's everyone's: those that there are now. A worker marks 500 at once."""
        asked = reading.validated(ErasureRequest, reading.json_body())
        who = caller()
        wanted = _wanted(asked.filter, who)
        done = erase_many(parts.store, wanted, by=f"key:{who.key_id}", dry_run=asked.dry_run, now=datetime.now(UTC))
        headers = {} if done.erasure_id is None else _location(parts, done.erasure_id)
        shown = {"erasure_id": done.erasure_id, "matched": done.matched, "dry_run": asked.dry_run}
        return json_response(shown, 202, headers)


def _show(app: Flask, parts: Parts, registry: Registry) -> None:
    @registry.route(
        app,
        "GET",
        "/v1/erasures/<erasure_id>",
        scope=Scope.READ,
        summary="How far an erasure is",
        answers={200: ErasureAnswer, 404: None},
    )
    def get_erasure(erasure_id: str) -> ResponseReturnValue:
        """Of one job or of many."""
        return json_response(_shown(parts, erasure_id))


def _shown(parts: Parts, erasure_id: str) -> dict[str, Any]:
    row = None
    if is_id("ers", erasure_id):
        with parts.store.reading() as connection:
            row = reads.erasure(connection, erasure_id, caller().sees)
    if row is None:
        raise NotFound("There is no such erasure.")
    return representations.erasure(row)


def _location(parts: Parts, erasure_id: str) -> dict[str, str]:
    return {"Location": f"{parts.settings.public_url}/v1/erasures/{erasure_id}"}


def _wanted(asked: ErasureFilter, who: Caller) -> Wanted:
    if asked.client_id is not None and asked.client_id != who.client_id and not who.is_admin:
        raise InsufficientScope("Only an admin key erases another client's jobs.")
    metadata = {name: _as_text(value) for name, value in (asked.metadata or {}).items()}
    return Wanted(
        client_id=asked.client_id if who.is_admin else who.client_id,
        reference=asked.reference,
        tag=asked.tag,
        metadata=metadata,
        created_before=asked.created_before,
    )


def _as_text(value: Scalar) -> str:
    """As the list's `metadata.KEY=` has it."""
    return value if isinstance(value, str) else json.dumps(value)
