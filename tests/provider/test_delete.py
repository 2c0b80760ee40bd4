"""Asking ModelsLab to delete pictures: what is sent, and what its answers mean."""

import json

import pytest

from tests.provider.misbehaving import Caller, misbehaving
from tests.provider.test_client import KEY, client, free_port
from webhook_app.domain.erasure import ProviderCopy
from webhook_app.provider.modelslab.client import ModelsLab
from webhook_app.provider.modelslab.request import delete_url


def test_the_request_goes_beside_the_enterprise_base() -> None:
    def act(caller: Caller) -> None:
        caller.read_request()
        caller.answer("200 OK", b'{"status":"success","messege":"image deleted"}')

    with misbehaving(act) as server:
        assert client(server.port).delete_copy("134932313") is ProviderCopy.DELETED
        ((head, body),) = server.received
    assert head.startswith(b"POST /api/v3/delete_image HTTP/1.1\r\n")
    assert json.loads(body) == {"key": KEY, "request_id": 134932313, "type": "image"}
    assert delete_url("https://proxy.example/ml/api/v1/enterprise/") == "https://proxy.example/ml/api/v3/delete_image"


@pytest.mark.parametrize(
    ("status", "body", "meant"),
    [
        ("200 OK", b'{"status": "error", "message": "Request not found"}', ProviderCopy.REFUSED),
        ("404 Not Found", b'{"status": "failed", "message": "no"}', ProviderCopy.REFUSED),
        ("429 Too Many Requests", b'{"status": "error", "message": "Rate limit exceeded"}', None),
        ("500 Oh", b'{"status": "error", "message": "Internal server error"}', None),
        ("200 OK", b"<html>", None),
        ("200 OK", b'{"messege": "image deleted"}', None),
    ],
)
def test_an_answer_is_a_yes_a_no_or_none(status: str, body: bytes, meant: ProviderCopy | None) -> None:
    def act(caller: Caller) -> None:
        caller.read_request()
        caller.answer(status, body)

    with misbehaving(act) as server:
        assert client(server.port).delete_copy("7") is meant


def test_nobody_is_asked_without_a_key_and_silence_is_no_answer() -> None:
    assert client(free_port()).delete_copy("7") is None
    assert ModelsLab("", f"http://127.0.0.1:{free_port()}/api/v1/enterprise").delete_copy("7") is None
