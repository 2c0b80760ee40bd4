"""Sending to strangers: real servers, and the battery of addresses that must not be reached."""

import itertools
import ssl
import threading

import pytest

from tests.net.conftest import Names
from tests.net.scripted import ScriptedServer, answer
from tests.net.test_battery import BATTERY_PUBLIC, BATTERY_REFUSED, MORE_REFUSED
from tests.net.test_fetch import CERTIFICATE
from tests.receiver import Answer, Receiver, receiving, reset
from webhook_app.net.post import GuardedSender

HEADERS = {"Content-Type": "application/json", "webhook-id": "evt_1"}


@pytest.fixture
def receiver():
    with receiving() as made:
        yield made


@pytest.fixture
def sender(receiver: Receiver) -> GuardedSender:
    return GuardedSender(frozenset({receiver.host_port}), total_timeout_s=2)


def test_body_and_headers_arrive_as_they_are(receiver: Receiver, sender: GuardedSender) -> None:
    url = receiver.answer("/hooks?a=1", Answer(201, body=b"thanks"))
    answered = sender.post(url, b'{"a": 1}', HEADERS)
    (got,) = receiver.got()
    assert (answered.status_code, answered.excerpt, answered.error) == (201, "thanks", None)
    assert got.body == b'{"a": 1}'
    assert (got.path, got.headers["webhook-id"], got.headers["content-type"]) == (
        "/hooks?a=1",
        "evt_1",
        "application/json",
    )
    assert "authorization" not in got.headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_answers_and_not_followed(receiver: Receiver, sender: GuardedSender, status: int) -> None:
    url = receiver.answer("/moved", Answer(status, {"Location": receiver.url + "/elsewhere"}))
    assert sender.post(url, b"{}", HEADERS).status_code == status
    assert [got.path for got in receiver.got()] == ["/moved"]


def test_a_huge_answer_is_read_no_further_than_64_kb(serve) -> None:
    sent = []
    stopped = threading.Event()

    def endless(_path: str):
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"
        try:
            while True:
                sent.append(1)
                yield b"x" * 65_536
        finally:
            stopped.set()

    server: ScriptedServer = serve(endless)
    answered = GuardedSender(frozenset({server.host_port}), total_timeout_s=20).post(server.url, b"{}", HEADERS)
    assert answered.status_code == 200
    assert answered.excerpt == "x" * 1_000
    assert stopped.wait(20), "the connection was closed on the server"
    assert len(sent) < 200


def test_an_answer_in_pieces_is_read(serve) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    server = serve(lambda _path: [head, b"3\r\nabc\r\n", b"3\r\ndef\r\n", b"0\r\n\r\n"])
    answered = GuardedSender(frozenset({server.host_port})).post(server.url, b"{}", HEADERS)
    assert (answered.status_code, answered.excerpt) == (200, "abcdef")


def test_a_receiver_that_says_nothing_is_left_in_time(receiver: Receiver, sender: GuardedSender) -> None:
    answered = sender.post(receiver.answer("/hang", Answer(act=receiver.hang)), b"{}", HEADERS)
    assert (answered.status_code, answered.error) == (None, "timeout")
    assert 1.5 < answered.duration_s < 20


def test_headers_that_drip_are_left_in_time_too(serve) -> None:
    server: ScriptedServer = serve(lambda _path: server.drip([b"H", b"T", b"T", b"P"] * 1_000))
    answered = GuardedSender(frozenset({server.host_port}), total_timeout_s=1).post(server.url, b"{}", HEADERS)
    assert (answered.status_code, answered.error) == (None, "timeout")


def test_the_status_counts_when_the_rest_never_comes(serve) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"
    server: ScriptedServer = serve(lambda _path: itertools.chain([head], server.drip([b"."] * 1_000)))
    answered = GuardedSender(frozenset({server.host_port}), total_timeout_s=1).post(server.url, b"{}", HEADERS)
    assert answered.status_code == 200


def test_a_reset_a_refusal_and_nonsense_are_errors_with_a_word(
    receiver: Receiver, sender: GuardedSender, serve
) -> None:
    assert sender.post(receiver.answer("/reset", Answer(act=reset)), b"{}", HEADERS).error == "connection"
    nonsense = serve(lambda _path: [b"hello\r\n\r\n"])
    flood = serve(lambda _path: [answer(b"", **{f"x{n}": "y" for n in range(500)})])
    closed = serve(lambda _path: [])
    closed.close()
    strangers = GuardedSender(frozenset({nonsense.host_port, flood.host_port, closed.host_port}), total_timeout_s=5)
    found = [strangers.post(server.url, b"{}", HEADERS) for server in (nonsense, flood, closed)]
    assert [(each.status_code, each.error) for each in found] == [(None, "connection")] * 3
    assert not any(each.forbidden for each in found)


RETRIES = [("120", 120), (" 7 ", 7), ("soon", None), ("-5", None), ("", None)]


@pytest.mark.parametrize(("text", "seconds"), [*RETRIES, ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None)])
def test_retry_after_is_read_where_it_can_be(
    receiver: Receiver, sender: GuardedSender, text: str, seconds: int | None
) -> None:
    url = receiver.answer("/slow", Answer(429, {"Retry-After": text}))
    assert sender.post(url, b"{}", HEADERS).retry_after_s == seconds


def test_retry_after_may_be_an_instant(receiver: Receiver, sender: GuardedSender) -> None:
    url = receiver.answer("/slow", Answer(503, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}))
    assert sender.post(url, b"{}", HEADERS).retry_after_s == 0


def test_text_that_no_database_takes_is_made_harmless(receiver: Receiver, sender: GuardedSender) -> None:
    url = receiver.answer("/odd", Answer(500, body=b"a\0b\xff"))
    assert sender.post(url, b"{}", HEADERS).excerpt == "a\ufffdb\ufffd"


def test_nothing_of_the_environment_is_sent_along(
    receiver: Receiver, sender: GuardedSender, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert sender.post(receiver.answer("/hooks"), b"{}", HEADERS).status_code == 200
    assert "authorization" not in receiver.got()[0].headers


@pytest.mark.parametrize(("url", "answers"), [*BATTERY_REFUSED, *MORE_REFUSED])
def test_a_forbidden_target_is_not_dialled(url: str, answers: list[str], names: Names, dialled: list[str]) -> None:
    if answers:
        names.answers[url.split("://")[1].split("/")[0].split("@")[-1].split(":")[0]] = [list(answers)]
    answered = GuardedSender(frozenset()).post(url, b"{}", HEADERS)
    assert dialled == []
    assert (answered.status_code, answered.forbidden) == (None, True)


@pytest.mark.parametrize(("url", "answers"), BATTERY_PUBLIC)
def test_a_public_target_is_dialled(url: str, answers: list[str], names: Names, dialled: list[str]) -> None:
    if answers:
        names.answers[url.split("://")[1].split("/")[0]] = [list(answers)]
    answered = GuardedSender(frozenset()).post(url, b"{}", HEADERS)
    assert dialled
    assert (answered.error, answered.forbidden) == ("connection", False)


def test_a_rebound_name_is_resolved_once_and_dialled_where_it_was_checked(names: Names, dialled: list[str]) -> None:
    names.answers["rebind.test"] = [["93.184.215.14"], ["127.0.0.1"]]
    GuardedSender(frozenset()).post("https://rebind.test/", b"{}", HEADERS)
    assert (names.asked, dialled) == (["rebind.test"], ["93.184.215.14"])


def test_the_operator_may_allow_a_private_host_and_plain_http(receiver: Receiver, sender: GuardedSender) -> None:
    assert sender.may_name(receiver.url + "/hooks")
    assert not sender.may_name("http://127.0.0.1:1/hooks")
    assert not sender.may_name("nonsense")
    answered = GuardedSender(frozenset()).post(receiver.url, b"{}", HEADERS)
    assert (answered.error, answered.forbidden) == ("plain_http", True)
    assert receiver.got() == []


def test_a_certificate_that_nobody_trusts_is_refused_and_may_be_mended(serve) -> None:
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(CERTIFICATE)
    server = serve(lambda _path: [answer(b"over tls")], theirs)
    private = frozenset({f"localhost:{server.port}", server.host_port})
    distrusting = GuardedSender(private, total_timeout_s=10).post(f"https://localhost:{server.port}/", b"{}", HEADERS)
    assert (distrusting.error, distrusting.forbidden) == ("tls", False)
    trusted = ssl.create_default_context(cafile=str(CERTIFICATE))
    sender = GuardedSender(private, total_timeout_s=10, tls=trusted)
    assert sender.post(f"https://localhost:{server.port}/", b"{}", HEADERS).status_code == 200
    assert sender.post(f"https://127.0.0.1:{server.port}/", b"{}", HEADERS).error == "tls"
