"""Endpoints and deliveries over HTTP."""

import base64
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.web.conftest import Api, key_for
from webhook_app import wiring
from webhook_app.domain.job import Scope
from webhook_app.flows import notify, seal
from webhook_app.flows.announce import announce
from webhook_app.settings import load_settings
from webhook_app.store.engine import Store
from webhook_app.store.tables import Endpoint
from webhook_app.web.app import create_app

URL = "https://client.example/hooks"


def make(api: Api, **members: object) -> dict:
    response = api.post("/v1/endpoints", {"url": URL} | members)
    assert response.status_code == 201, response.text
    return response.json


def sealed(api: Api) -> None:
    """What a worker's sealer does."""
    now, where = datetime.now(UTC), wiring.addresses(api.parts)
    seal.seal(api.parts.store, tell=lambda c, a, b: announce(c, first=a, last=b, addresses=where, now=now))


def canceled(api: Api, **members: object) -> str:
    track_id = api.submit(**members)
    assert api.post(f"/v1/jobs/{track_id}/cancel").status_code == 200
    sealed(api)
    return track_id


def test_an_endpoint_is_made_with_a_secret_that_is_shown_once(api: Api) -> None:
    response = api.post("/v1/endpoints", {"url": URL, "events": ["job.succeeded"], "description": "the shop"})
    made = response.json
    assert response.status_code == 201
    assert response.headers["Location"].endswith(f"/v1/endpoints/{made['endpoint_id']}")
    assert made["secret"].startswith("whsec_")
    assert len(base64.b64decode(made["secret"].removeprefix("whsec_"), validate=True)) == 32
    shown = api.get(f"/v1/endpoints/{made['endpoint_id']}").json
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    assert (shown["url"], shown["events"], shown["description"]) == (URL, ["job.succeeded"], "the shop")
    assert (shown["disabled_at"], shown["disabled_reason"]) == (None, None)
    assert api.get("/v1/endpoints").json["data"] == [shown]
    with api.parts.store.reading() as connection:
        rows = connection.execute(Endpoint.__table__.select()).all()
    assert made["secret"].removeprefix("whsec_") not in str(rows)


@pytest.mark.parametrize(
    "url",
    [
        "http://client.example/hooks",
        "https://127.0.0.1/",
        "https://10.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[64:ff9b::127.0.0.1]/",
        "https://[fec0::1]/",
        "https://169.254.169.254/latest",
        "https://0x7f.1/",
        "https://2130706433/",
        "https://127.1/",
        "https://localhost/",
        "https://user:pass@client.example/",
        "https://１２７.０.０.１/",
        "https://client.example\\@127.0.0.1/",
        "ftp://client.example/",
        "https://",
        "client.example",
        "",
    ],
)
def test_a_forbidden_address_is_refused_where_it_is_named(api: Api, url: str) -> None:
    response = api.post("/v1/endpoints", {"url": url})
    assert response.status_code == 422
    assert response.json["errors"][0]["pointer"] == "/url"
    endpoint_id = make(api)["endpoint_id"]
    assert api.call("PATCH", f"/v1/endpoints/{endpoint_id}", json={"url": url}).status_code == 422
    asked = {"input": {"prompt": "a lighthouse"}, "webhook": url}
    response = api.post("/v1/jobs", asked)
    assert (response.status_code, response.json["errors"][0]["pointer"]) == (422, "/webhook")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/url"),
        ({"url": URL, "events": []}, "/events"),
        ({"url": URL, "events": ["job.exploded"]}, "/events/0"),
        ({"url": URL, "description": "x" * 201}, "/description"),
        ({"url": URL, "secret": "whsec_mine"}, "/secret"),
        ({"url": 7}, "/url"),
    ],
)
def test_a_wrong_field_is_named(api: Api, body: dict, pointer: str) -> None:
    response = api.post("/v1/endpoints", body)
    assert response.status_code == 422
    assert [fault["pointer"] for fault in response.json["errors"]] == [pointer]


def test_an_endpoint_is_changed_and_removed(api: Api) -> None:
    made = make(api, events=["job.failed"], description="old")
    path = f"/v1/endpoints/{made['endpoint_id']}"
    changed = api.call("PATCH", path, json={"url": URL + "/new", "events": None}).json
    assert (changed["url"], changed["events"], changed["description"]) == (URL + "/new", None, "old")
    assert api.call("PATCH", path, json={}).json == changed
    assert api.call("PATCH", path, json={"url": None}).json == changed
    assert api.delete(path).status_code == 204
    assert [api.delete(path).status_code, api.get(path).status_code] == [404, 404]


def test_an_endpoint_gets_a_new_secret(api: Api) -> None:
    made = make(api)
    path = f"/v1/endpoints/{made['endpoint_id']}"
    rotated = api.post(f"{path}/rotate-secret").json
    assert rotated["secret"] != made["secret"]
    left = datetime.fromisoformat(rotated["previous_secret_until"]) - datetime.now(UTC)
    assert 86_000 < left.total_seconds() <= 86_400
    assert api.post(f"{path}/rotate-secret", {"overlap_s": 0}).status_code == 200
    assert api.post(f"{path}/rotate-secret", {"overlap_s": -1}).json["errors"][0]["pointer"] == "/overlap_s"
    assert "secret" not in api.get(path).json


def test_the_default_secret_is_the_clients_own(api: Api, stranger: Api, admin: Api) -> None:
    path = "/v1/webhooks/default/secret"
    first = api.get(path).json
    assert set(first) == {"key"}
    assert api.get(path).json == first != stranger.get(path).json != admin.get(path).json
    rotated = api.post(f"{path}/rotate", {"overlap_s": 60}).json
    assert rotated != first
    assert api.get(path).json == rotated


def test_a_delivery_is_listed_shown_and_sent_again(api: Api, admin: Api) -> None:
    endpoint_id = make(api)["endpoint_id"]
    track_id = canceled(api)
    other = canceled(api)
    (row,) = api.get(f"/v1/deliveries?track_id={track_id}&status=pending&status=failed").json["data"]
    assert (row["type"], row["endpoint_id"], row["url"], row["attempt_count"]) == ("job.canceled", endpoint_id, URL, 0)
    shown = api.get(f"/v1/deliveries/{row['delivery_id']}").json
    assert shown == row | {"body": shown["body"], "attempts": []}
    assert track_id in shown["body"]
    assert api.post(f"/v1/deliveries/{row['delivery_id']}/retry").status_code == 202
    by_endpoint = api.get(f"/v1/deliveries?endpoint_id={endpoint_id}").json["data"]
    assert [each["track_id"] for each in by_endpoint] == [other, track_id]
    page = api.get("/v1/deliveries?limit=1").json
    rest = api.get(f"/v1/deliveries?limit=1&cursor={page['next_cursor']}").json
    assert [page["data"][0]["track_id"], rest["data"][0]["track_id"], rest["has_more"]] == [other, track_id, False]
    assert api.get("/v1/deliveries?status=succeeded").json["data"] == []
    assert len(admin.get("/v1/deliveries").json["data"]) == 2


def test_the_attempts_of_a_delivery_tell_status_duration_and_first_bytes(api: Api) -> None:
    make(api)
    canceled(api)
    now = datetime.now(UTC)
    (claim,) = notify.claim(api.parts.store, api.parts.vault, owner="w", limit=9, crew=9, now=now)
    notify.record(
        api.parts.store, [notify.Sent(claim, now, notify.Answered(500, 0.25, excerpt="no such table"))], now=now
    )
    shown = api.get(f"/v1/deliveries/{claim.delivery_id}").json
    (attempt,) = shown["attempts"]
    assert (attempt["attempt"], attempt["status_code"], attempt["duration_ms"]) == (1, 500, 250)
    assert (attempt["excerpt"], attempt["error"]) == ("no such table", None)
    assert shown["status"] == "pending"
    assert shown["next_attempt_at"] > shown["created_at"]


def test_a_test_is_sent_and_found_in_the_log(api: Api) -> None:
    endpoint_id = make(api)["endpoint_id"]
    response = api.post(f"/v1/endpoints/{endpoint_id}/test")
    assert response.status_code == 202
    assert response.json["type"] == "endpoint.test"
    assert api.http.get(response.headers["Location"].removeprefix("http://127.0.0.1:8000")).status_code == 401
    assert api.get(f"/v1/deliveries/{response.json['delivery_id']}").json["status"] == "pending"


def test_enabling_and_recovering(api: Api) -> None:
    endpoint_id = make(api)["endpoint_id"]
    path = f"/v1/endpoints/{endpoint_id}"
    with api.parts.store.writing() as connection:
        values = {"disabled_at": datetime.now(UTC), "disabled_reason": "gone"}
        connection.execute(Endpoint.__table__.update().values(**values))
    assert api.get(path).json["disabled_reason"] == "gone"
    response = api.post(f"{path}/recover", {"since": "2026-01-01T00:00:00Z"})
    assert (response.status_code, response.json["code"]) == (409, "endpoint_not_active")
    assert [api.post(f"{path}/enable").json["disabled_at"] for _ in range(2)] == [None, None]
    response = api.post(f"{path}/recover", {"since": "2026-01-01T00:00:00Z"})
    assert (response.status_code, response.json["endpoint_id"]) == (202, endpoint_id)
    assert api.get(path).json["recovering_since"].startswith("2026-01-01T00:00:00")
    assert api.post(f"{path}/recover", {"since": "yesterday"}).json["errors"][0]["pointer"] == "/since"


def test_another_clients_endpoint_and_delivery_are_not_found(api: Api, stranger: Api, admin: Api) -> None:
    endpoint_id = make(api)["endpoint_id"]
    canceled(api)
    delivery_id = api.get("/v1/deliveries").json["data"][0]["delivery_id"]
    here, there = f"/v1/endpoints/{endpoint_id}", f"/v1/deliveries/{delivery_id}"
    answers = [
        stranger.get(here),
        stranger.delete(here),
        stranger.call("PATCH", here, json={"description": "mine"}),
        stranger.get(there),
        stranger.post(f"{there}/retry"),
        *(stranger.post(f"{here}/{verb}", {}) for verb in ("rotate-secret", "test", "enable", "recover")),
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert stranger.get("/v1/endpoints").json["data"] == stranger.get("/v1/deliveries").json["data"] == []
    assert admin.get(here).status_code == admin.get(there).status_code == 200
    assert api.get(here).json["description"] is None


def test_a_key_that_reads_changes_nothing(api: Api) -> None:
    endpoint_id = make(api)["endpoint_id"]
    reader = Api(api.http, api.parts, key_for(api.parts, "acme", Scope.READ), "acme")
    assert reader.get("/v1/endpoints").json["data"][0]["endpoint_id"] == endpoint_id
    answers = [
        reader.post("/v1/endpoints", {"url": URL}),
        reader.delete(f"/v1/endpoints/{endpoint_id}"),
        reader.get("/v1/webhooks/default/secret"),
        reader.post("/v1/webhooks/default/secret/rotate"),
        reader.post(f"/v1/endpoints/{endpoint_id}/rotate-secret"),
    ]
    assert {answer.status_code for answer in answers} == {403}


def test_what_is_no_id_is_not_found(api: Api) -> None:
    for path in ("/v1/endpoints/ep_x", "/v1/deliveries/dlv_x", "/v1/deliveries/%00"):
        assert api.get(path).status_code == 404


def test_the_operator_may_allow_a_private_receiver(store: Store, tmp_path: Path) -> None:
    settings = load_settings({"DATA_DIR": str(tmp_path), "PRIVATE_WEBHOOK_HOSTS": "127.0.0.1:9999, hooks.local:80"})
    parts = replace(wiring.build(settings), store=store)
    api = Api(create_app(parts).test_client(), parts, key_for(parts, "acme", Scope.SUBMIT, Scope.READ), "acme")
    for url in ("http://127.0.0.1:9999/hooks", "https://127.0.0.1:9999/", "http://hooks.local/x"):
        assert make(api, url=url)["url"] == url
        api.submit(webhook=url)
    for url in ("http://127.0.0.1:9998/", "http://127.0.0.1/", "ftp://127.0.0.1:9999/", "http://a:b@127.0.0.1:9999/"):
        assert api.post("/v1/endpoints", {"url": url}).status_code == 422
