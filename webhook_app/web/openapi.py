"""`/openapi.json`: OpenAPI 3.1, made from the routes and from the models that validate what they read."""

import re
from collections.abc import Iterable
from functools import cache
from http import HTTPStatus
from typing import Any

from flask import Flask, Response
from flask.typing import ResponseReturnValue
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from webhook_app import __version__
from webhook_app.web.answers import Problem
from webhook_app.web.registry import Answer, Body, Entry, Registry
from webhook_app.web.respond import JSON, PROBLEM, dumps
from webhook_app.wiring import Parts

VARIABLE = re.compile(r"<(?:\w+:)?(\w+)>")
REFERENCES = "#/components/schemas/{model}"
SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key: `wapp_` and 43 characters."},
    "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
}
GUARDED = (401, 403, 503)
DESCRIPTION = "Submits image generation jobs, tracks them, and keeps their pictures."
ANYTHING: dict[str, Any] = {}
# The first that a path begins with; in the order in which `/docs` shows them.
GROUPS = {
    "/v1/jobs": "Jobs",
    "/v1/export": "Jobs",
    "/v1/batches": "Batches",
    "/v1/erasures": "Erasing",
    "/v1/events": "Events",
    "/v1/images": "Pictures",
    "/images": "Pictures",
    "/v1/endpoints": "Webhooks",
    "/v1/deliveries": "Webhooks",
    "/v1/webhooks": "Webhooks",
    "/v1/keys": "Access",
    "/v1/clients": "Access",
    "/callbacks": "Provider",
    "/v1/callbacks": "Provider",
    "/v1/providers": "Provider",
    "/": "Operation",
}
# What a problem of this status carries beside its body.
GIVEN = {401: "WWW-Authenticate", 405: "Allow", 429: "Retry-After", 503: "Retry-After"}


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """The document. It is made when it is first asked for, when all routes are known."""

    @cache
    def document() -> bytes:
        return dumps(describe(registry.entries, server=parts.settings.public_url))

    @registry.route(app, "GET", "/openapi.json", scope=None, summary="This document", answers={200: JSON})
    def get_openapi() -> ResponseReturnValue:
        """OpenAPI 3.1."""
        return Response(document(), content_type=JSON)


def describe(entries: Iterable[Entry], *, server: str) -> dict[str, Any]:
    """The whole document, JSON-ready."""
    entries = list(entries)
    schemas = _Schemas(entries)
    paths: dict[str, dict[str, Any]] = {}
    for entry in sorted(entries, key=lambda entry: (entry.path, entry.method)):
        path = VARIABLE.sub(r"{\1}", entry.path)
        paths.setdefault(path, {})[entry.method.lower()] = _operation(entry, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "webhook-app", "version": __version__, "description": DESCRIPTION},
        "servers": [{"url": server}],
        "tags": [{"name": group} for group in dict.fromkeys(GROUPS.values())],
        "paths": paths,
        "components": {"schemas": schemas.components, "securitySchemes": SCHEMES},
    }


class _Schemas:
    """The JSON schemas of every model in use: as it is read where a model validates, as written where it answers."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        read = {model for entry in entries for model in (*_models_of(entry.body), *_models_of(entry.query))}
        written = {model for entry in entries for answer in entry.answers.values() for model in _models_of(answer)}
        pairs = [(model, "validation") for model in _by_name(read)]
        pairs += [(model, "serialization") for model in _by_name(written | {Problem})]
        found, definitions = models_json_schema(pairs, ref_template=REFERENCES)  # type: ignore[arg-type] # (model, mode)
        self._found = found
        self.components: dict[str, Any] = definitions.get("$defs", {})

    def read(self, model: type[BaseModel]) -> dict[str, Any]:
        return self._found[model, "validation"]

    def written(self, model: type[BaseModel]) -> dict[str, Any]:
        return self._found[model, "serialization"]

    def component(self, model: type[BaseModel]) -> dict[str, Any]:
        """The schema that `read` refers to."""
        found: dict[str, Any] = self.components[self.read(model)["$ref"].rpartition("/")[2]]
        return found

    def members(self, model: type[BaseModel]) -> tuple[dict[str, Any], list[str]]:
        """The properties of a query's model and the names of those that must be given."""
        schema = self.component(model)
        return schema.get("properties", {}), schema.get("required", [])


def _by_name(models: Iterable[type[BaseModel]]) -> list[type[BaseModel]]:
    return sorted(models, key=lambda model: (model.__name__, model.__module__))


def _models_of(body: Body | Answer) -> tuple[type[BaseModel], ...]:
    if body is None or isinstance(body, str):
        return ()
    return tuple(each for each in (body if isinstance(body, tuple) else (body,)) if not isinstance(each, str))


def _operation(entry: Entry, schemas: _Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _operation_id(entry),
        "summary": entry.summary,
        "tags": [next(group for start, group in GROUPS.items() if entry.path.startswith(start))],
        "parameters": _parameters(entry, schemas),
        "responses": _responses(entry, schemas),
        "security": [] if entry.scope is None else [{name: []} for name in SCHEMES],
    }
    scope = [] if entry.scope is None else [f"Scope `{entry.scope.value}`."]
    operation["description"] = " ".join([entry.description, *scope]).strip()
    if entry.body is not None:
        operation["requestBody"] = _request_body(entry.body, schemas)
    return operation


def _operation_id(entry: Entry) -> str:
    words = re.findall(r"[A-Za-z0-9]+", VARIABLE.sub(r"by_\1", entry.path)) or ["root"]
    return "_".join([entry.method.lower(), *words])


def _parameters(entry: Entry, schemas: _Schemas) -> list[dict[str, Any]]:
    text = {"type": "string"}
    found = [{"name": name, "in": "path", "required": True, "schema": text} for name in VARIABLE.findall(entry.path)]
    if entry.query is not None:
        members, required = schemas.members(entry.query)
        found += [
            {"name": name, "in": "query", "required": name in required, "schema": schema}
            for name, schema in members.items()
        ]
    found += [
        {"name": name, "in": "header", "required": False, "description": meaning, "schema": text}
        for name, meaning in entry.headers.items()
    ]
    return found


def _request_body(body: Body, schemas: _Schemas) -> dict[str, Any]:
    if isinstance(body, str):
        return {"required": True, "content": {body: {"schema": ANYTHING}}}
    models = _models_of(body)
    variants = [schemas.read(model) for model in models]
    schema = variants[0] if len(variants) == 1 else {"anyOf": variants}
    # A body that need not say anything may be left out.
    required = any(field.is_required() for model in models for field in model.model_fields.values())
    others = {each: {"schema": ANYTHING} for each in body if isinstance(each, str)} if isinstance(body, tuple) else {}
    return {"required": required, "content": {JSON: {"schema": schema, **_examples(models, schemas)}} | others}


def _examples(models: Iterable[type[BaseModel]], schemas: _Schemas) -> dict[str, Any]:
    """The models' own, one to choose for each; where there are none, a reader makes one up from the types."""
    shown = {model.__name__: schemas.component(model).get("examples") for model in models}
    values = {name: {"value": examples[0]} for name, examples in shown.items() if examples}
    return {"examples": values} if values else {}


def _responses(entry: Entry, schemas: _Schemas) -> dict[str, Any]:
    answers: dict[int, Answer] = dict(entry.answers)
    if entry.scope is not None:
        answers = dict.fromkeys(GUARDED) | answers
    found = {str(status): _response(status, answers[status], schemas) for status in sorted(answers)}
    return found | {"default": _response(500, None, schemas)}


def _response(status: int, answer: Answer, schemas: _Schemas) -> dict[str, Any]:
    shown: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if isinstance(answer, str):
        shown["content"] = {answer: {"schema": ANYTHING}}
    elif answer is not None:
        shown["content"] = {JSON: {"schema": schemas.written(answer)}}
    elif status >= HTTPStatus.BAD_REQUEST:
        shown["description"] += " (RFC 9457)"
        shown["content"] = {PROBLEM: {"schema": schemas.written(Problem)}}
        if status in GIVEN:
            shown["headers"] = {GIVEN[status]: {"schema": {"type": "string"}}}
    return shown
