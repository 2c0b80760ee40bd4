"""Keys and clients over HTTP: made once, shown once, ended at once."""

from tests.web.conftest import Api
from tests.web.test_problems import problem
from webhook_app.web.answers import ClientAnswer, ClientList, KeyList, NewKeyAnswer


def test_a_key_is_shown_once_and_works_until_it_is_revoked(admin: Api) -> None:
    made = admin.post("/v1/keys", {"client": "acme", "name": "ci", "scopes": ["read"]})
    assert made.status_code == 201
    NewKeyAnswer.model_validate(made.json)
    key = made.json.pop("key")
    assert key.startswith("wapp_")
    listing = admin.get("/v1/keys")
    KeyList.model_validate(listing.json)
    assert key not in listing.text
    assert listing.json["data"] == [{name: value for name, value in made.json.items() if name != "key"}]
    holder = Api(admin.http, admin.parts, key)
    assert holder.get("/v1/jobs").status_code == 200
    path = f"/v1/keys/{made.json['key_id']}"
    assert [admin.delete(path).status_code, admin.delete(path).status_code] == [204, 204]
    problem(holder.get("/v1/jobs"), 401, "unauthenticated")
    assert admin.get("/v1/keys").json["data"][0]["revoked_at"] is not None


def test_an_unknown_key_is_not_found(admin: Api) -> None:
    problem(admin.delete("/v1/keys/key_nothing"), 404, "not_found")


def test_a_key_submits_and_reads_unless_said_otherwise(admin: Api) -> None:
    assert admin.post("/v1/keys", {"client": "acme"}).json["scopes"] == ["submit", "read"]


def test_wrong_members_are_refused(admin: Api) -> None:
    for body, pointer in [
        ({}, "/client"),
        ({"client": ""}, "/client"),
        ({"client": "a", "scopes": []}, "/scopes"),
        ({"client": "a", "scopes": ["everything"]}, "/scopes/0"),
    ]:
        response = admin.post("/v1/keys", body)
        assert problem(response, 422, "invalid_field")["errors"][0]["pointer"] == pointer
    problem(admin.post("/v1/clients", {"name": "a", "key": "x"}), 422, "unknown_field")


def test_a_client_is_made_once(admin: Api) -> None:
    first = admin.post("/v1/clients", {"name": "acme"})
    again = admin.post("/v1/clients", {"name": "acme"})
    assert (first.status_code, again.status_code) == (201, 200)
    ClientAnswer.model_validate(first.json)
    assert first.json == again.json
    listing = admin.get("/v1/clients").json
    ClientList.model_validate(listing)
    assert {client["name"] for client in listing["data"]} == {"bootstrap", "acme"}


def test_lists_of_keys_and_clients_have_pages(admin: Api) -> None:
    for name in ("a", "b", "c"):
        admin.post("/v1/keys", {"client": name})
    for path, member in (("/v1/keys", "client"), ("/v1/clients", "name")):
        first = admin.get(f"{path}?limit=2").json
        rest = admin.get(f"{path}?limit=200&cursor={first['next_cursor']}").json
        names = [row[member] for row in first["data"] + rest["data"]]
        assert [name for name in names if name != "bootstrap"] == ["a", "b", "c"]
        assert rest["has_more"] is False


def test_keys_are_for_admins(api: Api) -> None:
    for path in ("/v1/keys", "/v1/clients"):
        problem(api.get(path), 403, "insufficient_scope")
        problem(api.post(path, {"name": "x", "client": "x"}), 403, "insufficient_scope")
