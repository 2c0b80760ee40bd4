"""Who may call what: keys, scopes, and the bootstrap key that is valid only while it is set."""

import time
from dataclasses import replace

from flask import Flask
from sqlalchemy import select

from tests.web.conftest import BOOTSTRAP_KEY, NOW, Api, key_for
from tests.web.test_problems import problem
from webhook_app.domain.job import Scope
from webhook_app.flows.keys import revoke_key
from webhook_app.store import reads
from webhook_app.store.tables import ApiKey, Client
from webhook_app.web.app import create_app
from webhook_app.web.auth import KNOWN_FOR_S, Authenticator
from webhook_app.wiring import Parts

ASKED = {"input": {"prompt": "x"}}


BAD: list[dict[str, str]] = [
    {},
    {"Authorization": "Bearer "},
    {"Authorization": "Bearer wapp_unknown"},
    {"Authorization": "Basic d2FwcDp4"},
    {"Authorization": "wapp_unknown"},
    {"X-Api-Key": "wapp_unknown"},
    {"X-Api-Key": "x" * 5_000},
    {"Authorization": "Bearer \xe9\xe8"},
]


def test_without_a_valid_key_nobody_comes_in(app: Flask, parts: Parts) -> None:
    for headers in BAD:
        response = app.test_client().get("/v1/jobs", headers=headers)
        problem(response, 401, "unauthenticated")
        assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_both_headers_are_read(app: Flask, api: Api) -> None:
    http = app.test_client()
    assert http.get("/v1/jobs", headers={"Authorization": f"bearer {api.key}"}).status_code == 200
    assert http.get("/v1/jobs", headers={"X-Api-Key": api.key}).status_code == 200


def test_a_key_in_the_query_string_is_refused_even_beside_a_good_one(app: Flask, api: Api) -> None:
    for name in ("key", "api_key", "access_token", "X-Api-Key"):
        problem(app.test_client().get(f"/v1/jobs?{name}={api.key}"), 401, "unauthenticated")
        problem(api.get(f"/v1/jobs?{name}={api.key}"), 401, "unauthenticated")


def test_a_scope_is_enough_for_its_own_routes_only(app: Flask, parts: Parts) -> None:
    submits = Api(app.test_client(), parts, key_for(parts, "acme", Scope.SUBMIT))
    reads_only = Api(app.test_client(), parts, key_for(parts, "acme", Scope.READ))
    assert submits.post("/v1/jobs", ASKED).status_code == 202
    problem(submits.get("/v1/jobs"), 403, "insufficient_scope")
    assert reads_only.get("/v1/jobs").status_code == 200
    problem(reads_only.post("/v1/jobs", ASKED), 403, "insufficient_scope")
    problem(reads_only.get("/v1/keys"), 403, "insufficient_scope")


def test_admin_carries_all_scopes(app: Flask, parts: Parts) -> None:
    keeper = Api(app.test_client(), parts, key_for(parts, "ops", Scope.ADMIN))
    assert keeper.post("/v1/jobs", ASKED).status_code == 202
    assert keeper.get("/v1/jobs").status_code == 200
    assert keeper.get("/v1/keys").status_code == 200


def key_id_of(parts: Parts, client: str) -> str:
    with parts.store.reading() as connection:
        found = connection.scalar(select(ApiKey.key_id).join(Client).where(Client.name == client))
    return str(found)


def test_a_revoked_key_is_dead_at_once(app: Flask, parts: Parts, admin: Api) -> None:
    shop = Api(app.test_client(), parts, key_for(parts, "shop", Scope.READ))
    assert shop.get("/v1/jobs").status_code == 200
    assert admin.delete(f"/v1/keys/{key_id_of(parts, 'shop')}").status_code == 204
    problem(shop.get("/v1/jobs"), 401, "unauthenticated")


def test_a_key_that_another_process_revoked_is_dead_within_a_second(app: Flask, parts: Parts) -> None:
    shop = Api(app.test_client(), parts, key_for(parts, "shop", Scope.READ))
    assert shop.get("/v1/jobs").status_code == 200
    assert revoke_key(parts.store, key_id_of(parts, "shop"), now=NOW)
    authenticator: Authenticator = app.extensions["authenticator"]
    authenticator.monotonic = lambda: time.monotonic() + KNOWN_FOR_S
    problem(shop.get("/v1/jobs"), 401, "unauthenticated")


def test_the_bootstrap_key_is_an_admin_of_its_own_client_and_is_not_stored(parts: Parts, admin: Api) -> None:
    track_id = admin.submit()
    job = admin.get(f"/v1/jobs/{track_id}").json
    with parts.store.reading() as connection:
        assert connection.scalar(select(Client.name).where(Client.client_id == job["client_id"])) == "bootstrap"
        assert reads.keys(connection, limit=10) == []


def test_without_the_variable_the_bootstrap_key_is_nobody(parts: Parts) -> None:
    settings = parts.settings.model_copy(update={"bootstrap_api_key": None})
    http = create_app(replace(parts, settings=settings)).test_client()
    response = http.get("/v1/jobs", headers={"Authorization": f"Bearer {BOOTSTRAP_KEY}"})
    problem(response, 401, "unauthenticated")


def test_a_strangers_job_is_not_found_whatever_is_asked_of_it(api: Api, stranger: Api, admin: Api) -> None:
    track_id = api.submit()
    image_id = api.get(f"/v1/jobs/{track_id}").json["images"][0]["image_id"]
    paths = [f"/v1/jobs/{track_id}{rest}" for rest in ("", "?wait=1", "/events", "/attempts")]
    for path in [*paths, f"/v1/images/{image_id}"]:
        assert api.get(path).status_code == 200
        assert admin.get(path).status_code == 200
        problem(stranger.get(path), 404, "not_found")
    assert stranger.get("/v1/jobs").json["data"] == []
