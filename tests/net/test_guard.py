"""The guarded session by itself, as the provider's client and our webhooks use it."""

import pytest
import requests
from urllib3.exceptions import NewConnectionError

from tests.net.conftest import Names
from webhook_app.domain.errors import FetchError
from webhook_app.net.guard import Guard, GuardedSession, trusted_tls

TLS = trusted_tls()


def test_the_connection_itself_refuses_what_no_caller_checked(names: Names, dialled: list[str]) -> None:
    session = GuardedSession(Guard(), TLS)
    with pytest.raises(FetchError, match="address_refused"):
        session.post("https://127.0.0.1:1/", data=b"x", timeout=5)
    with pytest.raises(FetchError, match="plain_http"):
        session.get("http://1.1.1.1/", timeout=5)
    assert dialled == []


def test_certificates_are_verified_even_when_asked_not_to(names: Names, dialled: list[str]) -> None:
    adapter = GuardedSession(Guard(), TLS).get_adapter("https://ok.test/")
    request = requests.Request("GET", "https://ok.test/").prepare()
    pool = adapter.get_connection_with_tls_context(request, verify=False)
    adapter.cert_verify(pool, request.url, False, None)
    assert (pool.cert_reqs, pool.conn_kw["ssl_context"]) == ("CERT_REQUIRED", TLS)


def test_a_connection_that_was_never_made_says_so(names: Names, dialled: list[str]) -> None:
    with pytest.raises(requests.ConnectionError) as caught:
        GuardedSession(Guard(), TLS).get("https://1.1.1.1/", timeout=5)
    assert isinstance(caught.value.args[0].reason, NewConnectionError)


def test_every_answer_is_tried_until_one_connects(names: Names, dialled: list[str]) -> None:
    names.answers["two.test"] = [["93.184.215.14", "1.1.1.1"]]
    with pytest.raises(requests.ConnectionError):
        GuardedSession(Guard(), TLS).get("https://two.test/", timeout=5)
    assert dialled == ["93.184.215.14", "1.1.1.1"]
