"""The client against real sockets that misbehave: which submits were provably not sent, and which may be taken."""

import json
import socket
import ssl
import time
from pathlib import Path

import pytest

from tests.databases import free_port
from tests.net.tunnels import Tunnels
from tests.provider.misbehaving import Act, Caller, misbehaving
from webhook_app import __version__
from webhook_app.domain.errors import ErrorCode
from webhook_app.domain.outcome import Failed, Finished, Later, NotSent, Refused, Running, Unconfirmed, Unread
from webhook_app.net.proxy import proxy_at
from webhook_app.provider.modelslab.client import ModelsLab
from webhook_app.provider.port import Provider, Submission

KEY = "CANARY-0123456789"
PEM = Path(__file__).parents[1] / "net" / "localhost.pem"
JOB = Submission("t-1", "flux/text2img", {"prompt": "a cat", "width": 512, "height": 512}, "https://us.example/cb")
PROCESSING = b'{"status": "processing", "id": 134932313, "eta": 3, "output": []}'
HTML = b"<html><body>502 Bad Gateway</body></html>"


def client(port: int, scheme: str = "http", host: str = "127.0.0.1", **more: object) -> ModelsLab:
    timeouts = {"connect_timeout_s": 5.0, "total_timeout_s": 10.0}
    return ModelsLab(KEY, f"{scheme}://{host}:{port}/api/v1/enterprise", **(timeouts | more))  # type: ignore[arg-type]


def server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    return context


def test_the_client_is_the_port_s_provider() -> None:
    provider: Provider = client(1)
    assert provider.name == "modelslab"
    assert "cdn2.stablediffusionapi.com" in provider.output_hosts
    extra = ModelsLab(KEY, "https://modelslab.com/api/v1/enterprise", frozenset({"*.cdn.example"}))
    assert "*.cdn.example" in extra.output_hosts


def test_a_submit_is_one_post_with_the_key_in_its_body_and_a_connection_of_its_own() -> None:
    def act(caller: Caller) -> None:
        caller.read_request()
        caller.answer("200 OK", PROCESSING)

    with misbehaving(act) as server:
        assert client(server.port).submit(JOB) == Running("134932313", 3.0)
        assert client(server.port).fetch("flux/text2img", "134932313", "t-1") == Running("134932313", 3.0)
    (head, body), (fetch_head, fetch_body) = server.received
    assert head.startswith(b"POST /api/v1/enterprise/flux/text2img HTTP/1.1\r\n")
    assert f"User-Agent: webhook-app/{__version__}".encode() in head
    assert b"Connection: close" in head
    assert KEY.encode() not in head + fetch_head
    assert json.loads(body)["key"] == KEY
    assert json.loads(body)["track_id"] == "t-1"
    assert fetch_head.startswith(b"POST /api/v1/enterprise/flux/fetch/134932313 HTTP/1.1\r\n")
    assert json.loads(fetch_body) == {"key": KEY}


def test_a_refused_connection_was_provably_not_sent() -> None:
    assert client(free_port()).submit(JOB) == NotSent("the connection was refused")


def test_an_unknown_name_was_provably_not_sent() -> None:
    assert isinstance(client(443, host="nonexistent.invalid").submit(JOB), NotSent)


@pytest.mark.parametrize("base", ["no-scheme", "http://", "http://127.0.0.1:99999", "http://" + "x" * 70 + ".example"])
def test_an_impossible_address_was_provably_not_sent(base: str) -> None:
    assert isinstance(ModelsLab(KEY, base, connect_timeout_s=1).submit(JOB), NotSent)


def test_without_a_key_nothing_is_sent() -> None:
    nameless = ModelsLab("", "http://127.0.0.1:1")
    assert isinstance(nameless.submit(JOB), NotSent)
    assert isinstance(nameless.fetch("flux/text2img", "1", "t-1"), Unread)
    assert nameless.read_callback(b'{"status": "processing"}', None).outcome == Running()


def test_a_connect_that_takes_too_long_was_provably_not_sent() -> None:
    with socket.socket() as full:
        # A listener whose queue is full does not answer further handshakes.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(8)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        answer = client(port, connect_timeout_s=0.3).submit(JOB)
        for sock in waiting:
            sock.close()
    assert answer == NotSent("connecting took too long")


def plain_text(caller: Caller) -> None:
    caller.sock.sendall(b"220 this is no TLS\r\n")


TLS_FAULTS: list[Act] = [plain_text, Caller.reset, Caller.hold]


@pytest.mark.parametrize("act", TLS_FAULTS, ids=["plain text", "reset", "silence"])
def test_a_tls_handshake_that_fails_was_provably_not_sent(act: Act) -> None:
    with misbehaving(act) as server:
        assert isinstance(client(server.port, "https", connect_timeout_s=0.3).submit(JOB), NotSent)


def test_an_untrusted_certificate_was_provably_not_sent() -> None:
    with misbehaving(lambda caller: None, server_tls()) as server:
        assert client(server.port, "https", "localhost").submit(JOB) == NotSent("TLS failed")
    assert server.received == []


def test_over_tls_a_reset_after_the_handshake_is_unconfirmed() -> None:
    def act(caller: Caller) -> None:
        caller.read_request()
        caller.reset()

    trusting = ssl.create_default_context(cafile=str(PEM))
    with misbehaving(act, server_tls()) as server:
        assert isinstance(client(server.port, "https", "localhost", tls=trusting).submit(JOB), Unconfirmed)


def test_over_tls_an_answer_is_read() -> None:
    def act(caller: Caller) -> None:
        caller.read_request()
        caller.answer("200 OK", PROCESSING)

    trusting = ssl.create_default_context(cafile=str(PEM))
    with misbehaving(act, server_tls()) as server:
        assert isinstance(client(server.port, "https", "localhost", tls=trusting).submit(JOB), Running)


def read_then(*steps: Act) -> Act:
    def act(caller: Caller) -> None:
        caller.read_request()
        for step in steps:
            step(caller)

    return act


def unread_then(*steps: Act) -> Act:
    """The request has arrived, and nobody reads it. (Any earlier, and the connect itself might see the reset.)"""

    def act(caller: Caller) -> None:
        caller.sock.recv(1, socket.MSG_PEEK)
        for step in steps:
            step(caller)

    return act


def sends(data: bytes) -> Act:
    return lambda caller: caller.sock.sendall(data)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
FAULTS: dict[str, Act] = {
    "reset before the request was read": unread_then(Caller.reset),
    "closed before the request was read": unread_then(),
    "closed after the request was read": read_then(),
    "reset after the request was read": read_then(Caller.reset),
    "silence": read_then(Caller.hold),
    "headers, then silence": read_then(sends(HEAD), Caller.hold),
    "headers, then the end": read_then(sends(HEAD)),
    "headers, then reset": read_then(sends(HEAD), Caller.reset),
    "cut in the body": read_then(sends(HEAD + PROCESSING)),
    "cut in a chunk": read_then(sends(CHUNKED + b"ff\r\n{")),
    "a chunk's length is no number": read_then(sends(CHUNKED + b"zz\r\n")),
    "garbage": read_then(sends(b"\x00\x01\x02 what?\r\n\r\n")),
    "the key echoed as a status line": read_then(sends(KEY.encode() + b"\r\n\r\n")),
    "a hundred thousand headers": read_then(sends(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 100_000)),
    "a header line without end": read_then(sends(b"HTTP/1.1 200 OK\r\na: " + b"b" * 200_000)),
    "a body dripping past the end": read_then(lambda caller: caller.drip(HEAD)),
    "a body without length dripping": read_then(lambda caller: caller.drip(b"HTTP/1.1 200 OK\r\n\r\n")),
    "a dripping chunk": read_then(lambda caller: caller.drip(CHUNKED + b"fff\r\n")),
    "dripping headers": read_then(lambda caller: caller.drip(b"HTTP/1.1 200 OK\r\na: ")),
    "HTML 502": read_then(lambda caller: caller.answer("502 Bad Gateway", HTML, "Content-Type: text/html")),
    "HTML 200": read_then(lambda caller: caller.answer("200 OK", HTML)),
    "nothing at all": read_then(lambda caller: caller.answer("200 OK", b"")),
    "bad gzip": read_then(lambda caller: caller.answer("200 OK", PROCESSING, "Content-Encoding: gzip")),
    "too long": read_then(lambda caller: caller.answer("200 OK", PROCESSING + b" " * 2_000_000)),
}


@pytest.mark.parametrize("act", FAULTS.values(), ids=FAULTS.keys())
def test_whatever_else_happens_is_unconfirmed_and_ends_in_time(act: Act) -> None:
    began = time.monotonic()
    with misbehaving(act) as server:
        provider = client(server.port, total_timeout_s=0.8)
        answers = [provider.submit(JOB), provider.fetch("flux/text2img", "1", "t-1")]
    assert [type(answer) for answer in answers] == [Unconfirmed, Unread]
    assert KEY not in repr(answers)
    assert time.monotonic() - began < 10


def test_a_redirect_is_not_followed() -> None:
    followed = []

    def elsewhere(caller: Caller) -> None:
        followed.append(caller)

    with misbehaving(elsewhere) as other:
        location = f"Location: http://127.0.0.1:{other.port}/"
        act = read_then(lambda caller: caller.answer("307 Temporary Redirect", b"", location))
        with misbehaving(act) as server:
            assert isinstance(client(server.port).submit(JOB), Unconfirmed)
    assert followed == []


def test_json_is_believed_at_503() -> None:
    body = b'{"status": "error", "message": "Service temporarily unavailable. Please try again later."}'
    with misbehaving(read_then(lambda caller: caller.answer("503 Service Unavailable", body))) as server:
        answer = client(server.port).submit(JOB)
    assert answer == Failed("Service temporarily unavailable. Please try again later.", True, provider_status="error")


def test_no_room_is_later_with_the_time_that_the_header_names() -> None:
    with misbehaving(read_then(lambda c: c.answer("429 Too Many Requests", HTML, "Retry-After: 12"))) as server:
        assert client(server.port).submit(JOB) == Later("HTTP 429", 12.0, "429")


def test_an_echoed_key_is_cut_out() -> None:
    body = json.dumps({"status": "error", "message": f"Invalid API key: {KEY}", "meta": {KEY: KEY}}).encode()
    with misbehaving(read_then(lambda caller: caller.answer("401 Unauthorized", body))) as server:
        assert client(server.port).submit(JOB) == Refused("Invalid API key: [key]", ErrorCode.PROVIDER_AUTH)


def test_a_chunked_answer_is_read_to_its_end() -> None:
    body = b'{"status": "success", "output": ["https://cdn.modelslab.com/a.png"]}'
    parts = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:10], body[10:]))
    with misbehaving(read_then(sends(CHUNKED + parts + b"0\r\n\r\n"))) as server:
        assert isinstance(client(server.port).submit(JOB), Finished)


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with misbehaving(read_then(lambda caller: caller.answer("200 OK", PROCESSING))) as server:
        assert isinstance(client(server.port).submit(JOB), Running)


def test_a_proxy_that_is_asked_for_is_used_and_its_refusal_to_connect_was_not_sent() -> None:
    def tunnel_refused(caller: Caller) -> None:
        caller.sock.recv(65536)
        caller.answer("403 Forbidden", b"")

    with misbehaving(tunnel_refused) as proxy:
        way_out = proxy_at(f"http://127.0.0.1:{proxy.port}")
        assert client(443, "https", "modelslab.invalid", proxy=way_out).submit(JOB) == NotSent("the proxy failed")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_proxy_is_told_the_name_and_sees_no_request(scheme: str) -> None:
    tls = server_tls() if scheme == "https" else None
    trusting = ssl.create_default_context(cafile=str(PEM))
    with (
        misbehaving(read_then(lambda caller: caller.answer("200 OK", PROCESSING)), tls=tls) as server,
        Tunnels({f"localhost:{server.port}": server.port}, credentials="us%40home:p:w") as proxy,
    ):
        tool = client(server.port, scheme, "localhost", proxy=proxy_at(proxy.url), tls=trusting)
        assert tool.submit(JOB) == Running("134932313", 3.0)
    (head,) = proxy.heads
    assert head.startswith(f"CONNECT localhost:{server.port} HTTP/1.1\r\n")
    assert KEY not in head
    assert proxy.credentials_seen == ["us@home:p:w"]


def test_a_proxy_that_is_away_or_silent_is_no_submit() -> None:
    away = client(443, "https", "modelslab.invalid", proxy=proxy_at(f"http://127.0.0.1:{free_port()}"))
    assert away.submit(JOB) == NotSent("the proxy failed")
    with misbehaving(lambda caller: caller.hold()) as silent:
        way_out = proxy_at(f"http://u:SPARROW@127.0.0.1:{silent.port}")
        tool = client(443, "https", "modelslab.invalid", proxy=way_out, connect_timeout_s=0.2)
        assert tool.submit(JOB) == NotSent("the proxy failed")
        assert "SPARROW" not in repr(tool.__dict__)


def test_the_key_is_nowhere_in_what_the_client_shows() -> None:
    provider = client(1)
    assert KEY not in f"{provider!r} {provider} {provider.output_hosts}"
    assert repr(provider) == "ModelsLab('http://127.0.0.1:1/api/v1/enterprise')"


def test_logs_and_warnings_never_hold_the_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with misbehaving(FAULTS["the key echoed as a status line"]) as server:
        client(server.port).submit(JOB)
    assert KEY not in caplog.text


def test_our_own_key_is_cut_out_of_what_is_kept() -> None:
    provider = ModelsLab("secret/key-0123", "https://modelslab.com/api/v1/enterprise")
    echoed = rb'{"meta": {"key": "secret\/key-0123", "again": "secret/key-0123"}}'
    assert provider.redact(echoed) == rb'{"meta": {"key": "***", "again": "***"}}'
