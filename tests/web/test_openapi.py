"""`/openapi.json` describes every route, and describes it rightly."""

import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from openapi_spec_validator import validate

from tests.web.conftest import Api
from webhook_app.web.openapi import VARIABLE
from webhook_app.wiring import Parts

PUBLIC = {
    "/",
    "/.well-known/jwks.json",
    "/.well-known/webhook-app/nonce",
    "/callbacks/{provider}/{track_id}/{token}",
    "/docs",
    "/docs/errors",
    "/healthz",
    "/images/{image_id}.{ext}",
    "/openapi.json",
    "/readyz",
    "/static/{name}",
}

# A browser asks for these, or the provider, or our own programs; the rest has a `curl` in the README.
WITHOUT_CURL = {
    "/",
    "/.well-known/webhook-app/nonce",
    "/callbacks/{provider}/{track_id}/{token}",
    "/docs",
    "/docs/errors",
    "/openapi.json",
    "/static/{name}",
}


@pytest.fixture
def document(app: Flask) -> dict[str, Any]:
    response = app.test_client().get("/openapi.json")
    assert response.status_code == 200
    found: dict[str, Any] = response.json
    return found


def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_every_route_is_in_it_and_nothing_else(app: Flask, document: dict[str, Any]) -> None:
    routes = {
        (VARIABLE.sub(r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert routes == {(path, method) for path, methods in document["paths"].items() for method in methods}


def test_every_route_has_a_guard_or_stands_on_the_public_list(document: dict[str, Any]) -> None:
    operations = [(path, operation) for path, methods in document["paths"].items() for operation in methods.values()]
    assert {path for path, operation in operations if not operation["security"]} == PUBLIC
    assert len({operation["operationId"] for _, operation in operations}) == len(operations)


def test_a_guarded_route_is_closed_without_a_key(app: Flask, document: dict[str, Any]) -> None:
    http = app.test_client()
    for path, methods in document["paths"].items():
        for method in methods if path not in PUBLIC else ():
            response = http.open(path.replace("{", "").replace("}", ""), method=method.upper())
            assert (path, response.status_code) == (path, 401)


def test_a_submit_is_described_by_the_models_that_validate_it(document: dict[str, Any]) -> None:
    operation = document["paths"]["/v1/jobs"]["post"]
    bodies = operation["requestBody"]["content"]["application/json"]["schema"]["anyOf"]
    assert {body["$ref"].rpartition("/")[2] for body in bodies} == {"TextToImageJob", "ImageToImageJob"}
    given = document["components"]["schemas"]["TextToImageInput"]
    assert given["additionalProperties"] is False
    assert given["properties"]["width"]["anyOf"][0] == {
        "type": "integer",
        "minimum": 256,
        "maximum": 1024,
        "multipleOf": 8,
    }
    assert {"Idempotency-Key", "Prefer"} <= {parameter["name"] for parameter in operation["parameters"]}


def test_its_examples_are_accepted(api: Api, document: dict[str, Any]) -> None:
    examples = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    assert set(examples) == {"TextToImageJob", "ImageToImageJob"}
    for example in examples.values():
        assert api.post("/v1/jobs", example["value"]).status_code == 202


def test_every_route_stands_in_a_group_and_jobs_come_first(document: dict[str, Any]) -> None:
    groups = [tag["name"] for tag in document["tags"]]
    used = {
        tag for methods in document["paths"].values() for operation in methods.values() for tag in operation["tags"]
    }
    assert set(groups) == used
    assert groups[0] == "Jobs"


def test_the_document_needs_no_database(parts: Parts, app: Flask, api: Api) -> None:
    parts.store.dispose()
    assert app.test_client().get("/openapi.json").status_code == 200


def test_every_route_has_a_curl_in_the_readme(document: dict[str, Any]) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    told = re.sub(r"\$([A-Z_]+)", lambda variable: "{" + variable[1].lower() + "}", readme)
    shown = {re.sub(r"\.png$", ".{ext}", path) for path in re.findall(r"\{url\}(/[^\s\"`?;]*)", told)}
    assert set(document["paths"]) - shown == WITHOUT_CURL
