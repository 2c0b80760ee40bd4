"""Every error is a problem (RFC 9457) that helps the caller and gives nothing away."""

from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.web.conftest import Api
from tests.web.doors import drip
from webhook_app.domain.errors import DatabaseUnavailable, ProblemError
from webhook_app.domain.ids import new_track_id
from webhook_app.store.engine import Store
from webhook_app.web.answers import Problem

SECRET = "canary-in-an-exception"


def problem(response: TestResponse, status: int, code: str) -> dict[str, Any]:
    """The body of a problem, checked for what they all have in common."""
    assert response.status_code == status, response.text
    assert response.content_type == "application/problem+json"
    body: dict[str, Any] = response.json
    assert list(body) == list(Problem.model_fields)
    Problem.model_validate(body)
    assert (body["status"], body["code"], body["type"]) == (status, code, f"/docs/errors#{code}")
    assert body["request_id"] == response.headers["X-Request-Id"]
    return body


def test_an_unknown_address_is_not_found(api: Api) -> None:
    assert problem(api.get("/v1/nothing"), 404, "not_found")["instance"] == "/v1/nothing"


def test_a_wrong_method_says_which_are_right(api: Api) -> None:
    response = api.call("PUT", "/v1/jobs")
    problem(response, 405, "method_not_allowed")
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "POST"}


def test_another_media_type_is_refused(api: Api) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        response = api.call("POST", "/v1/jobs", data=b"{}", content_type=content_type)
        problem(response, 415, "unsupported_media_type")


def test_a_body_that_is_not_json_is_malformed(api: Api) -> None:
    for body in (b"", b"{", b'{"a": NaN}', b'{"input": {}, "input": {}}', b"\xff"):
        problem(api.call("POST", "/v1/jobs", data=body, content_type="application/json"), 400, "malformed_json")


def test_a_body_over_one_mebibyte_is_too_large(api: Api) -> None:
    body = b'{"reference": "' + b"x" * 2**20 + b'"}'
    problem(api.call("POST", "/v1/jobs", data=body, content_type="application/json"), 413, "too_large")


def test_a_body_in_chunks_is_read_as_far_as_it_may_be_and_no_further(api: Api) -> None:
    for body in (b'{"input": {"prompt": "x"}}' + b" " * 2**20, b"x" * 3 * 2**20):
        chunked = {"wsgi.input": drip(body), "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
        response = api.call("POST", "/v1/jobs", content_type="application/json", environ_overrides=chunked)
        problem(response, 413, "too_large")


def test_a_wrong_field_is_named_by_pointer(api: Api) -> None:
    body = problem(api.post("/v1/jobs", {"input": {"prompt": "x", "width": 7}}), 422, "invalid_field")
    assert [fault["pointer"] for fault in body["errors"]] == ["/input/width"]
    body = problem(api.post("/v1/jobs", {"input": {"prompt": "x"}, "colour": 1}), 422, "unknown_field")
    assert [fault["pointer"] for fault in body["errors"]] == ["/colour"]


def test_a_callbacks_token_is_masked_in_the_answer(api: Api) -> None:
    path = f"/callbacks/modelslab/{new_track_id()}"
    body = problem(api.call("POST", f"{path}/1.verysecrettoken", data=b"{}"), 404, "not_found")
    assert body["instance"] == f"{path}/***"
    assert "verysecrettoken" not in str(body)


def test_the_unforeseen_is_logged_and_gives_nothing_away(
    app: Flask, api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> str:
        raise LookupError(SECRET)

    app.add_url_rule("/fails", view_func=fail)
    body = problem(api.get("/fails"), 500, "internal")
    assert SECRET not in str(body)
    logged = capsys.readouterr()
    assert body["request_id"] in logged.out + logged.err


def test_every_error_of_ours_has_its_own_status_and_code(app: Flask, api: Api) -> None:
    kinds = ProblemError.__subclasses__()

    def fail(n: int) -> str:
        raise kinds[n]("That is so.", pointer="/a/0", retry_after_s=7)

    app.add_url_rule("/fails/<int:n>", view_func=fail)
    for n, kind in enumerate(kinds):
        response = api.get(f"/fails/{n}")
        body = problem(response, kind.status, kind.code)
        assert (body["detail"], body["errors"]) == ("That is so.", [{"pointer": "/a/0", "message": "That is so."}])
        assert response.headers["Retry-After"] == "7"


def test_without_a_database_the_answer_comes_soon_and_says_when_to_ask_again(
    app: Flask, api: Api, tmp_path: Any
) -> None:
    away = Store(f"sqlite:///{tmp_path}/no/such/folder/db")
    app.extensions["authenticator"].store = away
    response = api.get("/v1/jobs")
    problem(response, 503, DatabaseUnavailable.code)
    assert response.headers["Retry-After"] == "5"


def test_every_answer_carries_the_headers_of_a_careful_server(api: Api) -> None:
    for response in (api.get("/v1/jobs"), api.get("/nothing")):
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["X-Frame-Options"] == "DENY"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_a_callers_request_id_is_kept_when_it_is_harmless(api: Api) -> None:
    assert api.get("/nothing", headers={"X-Request-Id": "abc-1"}).headers["X-Request-Id"] == "abc-1"
    assert api.get("/nothing", headers={"X-Request-Id": "a b"}).headers["X-Request-Id"].startswith("req_")
