"""Downloads from a real server that behaves as badly as servers do."""

import io
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.net.scripted import ScriptedServer, answer
from webhook_app.domain.errors import FetchError
from webhook_app.net.fetch import GuardedFetcher
from webhook_app.net.port import Fetched, Fetcher

Serve = Callable[..., ScriptedServer]
CERTIFICATE = Path(__file__).with_name("localhost.pem")


def fetcher(*private: str, **caps: float) -> GuardedFetcher:
    return GuardedFetcher(frozenset(), frozenset(private), **{"total_timeout_s": 10, **caps})  # type: ignore[arg-type]


def refusal(tool: Fetcher, url: str) -> FetchError:
    with pytest.raises(FetchError) as caught:
        tool.fetch(url, io.BytesIO())
    return caught.value


def test_a_picture_comes_in_whole(serve: Serve) -> None:
    body = bytes(range(256)) * 1000
    server = serve(lambda path: [answer(body, Content_Type="image/png")])
    sink = io.BytesIO()
    fetched = fetcher(server.host_port).fetch(f"{server.url}/a.png", sink)
    assert fetched == Fetched(len(body), "image/png", f"{server.url}/a.png")
    assert sink.getvalue() == body


def test_the_request_carries_nothing_of_ours(serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server = serve(lambda path: [answer(b"x")])
    fetcher(server.host_port).fetch(server.url, io.BytesIO())
    (head,) = server.requests
    assert "authorization" not in head.lower()
    assert "cookie" not in head.lower()
    assert "Accept-Encoding: identity" in head


def test_proxies_of_the_environment_are_ignored(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve(lambda path: [answer(b"from the proxy")])
    server = serve(lambda path: [answer(b"direct")])
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    sink = io.BytesIO()
    fetcher(server.host_port).fetch(server.url, sink)
    assert sink.getvalue() == b"direct"
    assert proxy.requests == []


@pytest.mark.parametrize("status", ["404 Not Found", "403 Forbidden", "410 Gone", "500 Oops", "503 Busy", "204 Empty"])
def test_another_status_may_be_another_one_later(serve: Serve, status: str) -> None:
    server = serve(lambda path: [answer(b"<html>", status)])
    error = refusal(fetcher(server.host_port), server.url)
    assert (error.reason, error.retryable) == (f"http_{status[:3]}", True)


def test_three_redirects_are_followed_and_four_are_not(serve: Serve) -> None:
    def script(path: str) -> list[bytes]:
        left = int(path[1:])
        return [answer(b"end") if left == 0 else answer(status="302 Found", Location=f"/{left - 1}")]

    server = serve(script)
    tool = fetcher(server.host_port)
    assert tool.fetch(f"{server.url}/3", io.BytesIO()).final_url == f"{server.url}/0"
    assert refusal(tool, f"{server.url}/4").reason == "too_many_redirects"


@pytest.mark.parametrize("status", ["301 A", "302 B", "303 C", "307 D", "308 E"])
def test_a_redirect_to_a_private_address_is_refused(serve: Serve, status: str) -> None:
    inner = serve(lambda path: [answer(b"secret")])
    outer = serve(lambda path: [answer(status=status, Location=f"https://{inner.host_port}/")])
    error = refusal(fetcher(outer.host_port), outer.url)
    assert (error.reason, error.retryable) == ("address_refused", False)
    assert inner.requests == []


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://example.com/", "plain_http"),
        ("file:///etc/passwd", "scheme_refused"),
        ("gopher://127.0.0.1/", "scheme_refused"),
        ("data:text/html,x", "scheme_refused"),
        ("//user@127.0.0.1/", "userinfo"),
        ("https://[oops/", "bad_url"),
    ],
)
def test_a_redirect_to_another_kind_of_place_is_refused(serve: Serve, location: str, reason: str) -> None:
    server = serve(lambda path: [answer(status="302 Found", Location=location)])
    assert refusal(fetcher(server.host_port), server.url).reason == reason


def test_the_body_of_a_redirect_is_not_read(serve: Serve) -> None:
    def script(path: str) -> list[bytes]:
        return [answer(b"end")] if path == "/end" else [answer(status="302 Found", length=10**10, Location="/end")]

    server = serve(script)
    assert fetcher(server.host_port).fetch(server.url, io.BytesIO()).size == 3


def test_a_cookie_of_one_hop_is_not_shown_to_the_next(serve: Serve) -> None:
    def script(path: str) -> list[bytes]:
        return [answer(b"x")] if path == "/end" else [answer(status="302 F", Location="/end", Set_Cookie="a=b")]

    server = serve(script)
    fetcher(server.host_port).fetch(server.url, io.BytesIO())
    assert len(server.requests) == 2
    assert "cookie" not in server.requests[1].lower()


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_over_the_cap_is_refused(serve: Serve, declared: bool) -> None:
    body = b"x" * 5000
    whole = answer(body) if declared else b"HTTP/1.1 200 OK\r\n\r\n" + body
    server = serve(lambda path: [whole])
    sink = io.BytesIO()
    with pytest.raises(FetchError) as caught:
        fetcher(server.host_port, max_bytes=4999).fetch(server.url, sink)
    assert (caught.value.reason, caught.value.retryable) == ("too_large", False)
    assert sink.getvalue() == b""


@pytest.mark.parametrize(
    ("more", "reason"), [({}, "too_large"), ({"Content_Encoding": "gzip"}, "encoded")], ids=["plain", "gzip"]
)
def test_four_gigabytes_are_refused_unread(serve: Serve, more: dict[str, str], reason: str) -> None:
    def script(path: str) -> object:
        yield answer(length=4 * 2**30, **more)
        while True:
            yield b"\0" * 65536

    server, sink = serve(script), io.BytesIO()
    with pytest.raises(FetchError) as caught:
        fetcher(server.host_port).fetch(server.url, sink)
    assert (caught.value.reason, sink.getvalue()) == (reason, b"")


def test_a_body_without_end_stops_at_the_cap(serve: Serve) -> None:
    def script(path: str) -> object:
        yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        while True:
            yield b"10000\r\n" + b"x" * 65536 + b"\r\n"

    server = serve(script)
    assert refusal(fetcher(server.host_port, max_bytes=1_000_000), server.url).reason == "too_large"


@pytest.mark.parametrize("head", [b"Content-Length: 10", b"Transfer-Encoding: chunked"])
def test_a_body_cut_short_is_truncated(serve: Serve, head: bytes) -> None:
    body = b"a\r\n12345" if b"chunked" in head else b"12345"
    server = serve(lambda path: [b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + body])
    error = refusal(fetcher(server.host_port), server.url)
    assert (error.reason, error.retryable) == ("truncated", True)


def test_a_compressed_answer_is_refused_unread(serve: Serve) -> None:
    server = serve(lambda path: [answer(b"\x1f\x8b\x08" + b"0" * 100, Content_Encoding="gzip")])
    assert refusal(fetcher(server.host_port), server.url).reason == "encoded"


@pytest.mark.parametrize("place", ["head", "sized body", "chunked body", "open body"])
def test_a_slow_drip_ends_at_the_total_deadline(serve: Serve, place: str) -> None:
    starts = {
        "head": b"HTTP/1.1 200 OK\r\nX-Slow: ",
        "sized body": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
        "chunked body": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n",
        "open body": b"HTTP/1.1 200 OK\r\n\r\n",
    }
    servers: list[ScriptedServer] = []
    servers.append(serve(lambda path: _then_drip(servers[0], starts[place])))
    started = time.monotonic()
    error = refusal(fetcher(servers[0].host_port, total_timeout_s=0.6), servers[0].url)
    assert (error.reason, error.retryable) == ("timeout", True)
    assert time.monotonic() - started < 5


def _then_drip(server: ScriptedServer, start: bytes) -> object:
    yield start
    yield from server.drip([b"x"] * 10_000)


def test_a_silent_server_ends_at_the_total_deadline(serve: Serve) -> None:
    servers: list[ScriptedServer] = []
    servers.append(serve(lambda path: servers[0].drip([b""], pause_s=30)))
    assert refusal(fetcher(servers[0].host_port, total_timeout_s=0.5), servers[0].url).reason == "timeout"


def test_a_tls_handshake_without_end_ends_at_the_total_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host_port = f"127.0.0.1:{silent.getsockname()[1]}"
        tool = fetcher(host_port, total_timeout_s=0.5)
        assert refusal(tool, f"https://{host_port}/").reason == "timeout"


def test_a_refused_connection_may_work_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        host_port = f"127.0.0.1:{unused.getsockname()[1]}"
    error = refusal(fetcher(host_port), f"http://{host_port}/")
    assert (error.reason, error.retryable) == ("connection", True)


def test_garbage_in_place_of_an_answer_is_no_crash(serve: Serve) -> None:
    server = serve(lambda path: [b"\x00\xff garbage\r\n\r\n"])
    assert refusal(fetcher(server.host_port), server.url).reason == "connection"


def test_a_private_host_is_allowed_by_name_and_port_together(serve: Serve) -> None:
    server = serve(lambda path: [answer(b"x")])
    assert refusal(fetcher(f"127.0.0.1:{server.port + 1}"), f"https://{server.host_port}/").reason == "address_refused"
    assert server.requests == []


def _tls_server(serve: Serve) -> ScriptedServer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return serve(lambda path: [answer(b"over tls")], context)


def test_a_certificate_that_nobody_vouches_for_is_refused(serve: Serve) -> None:
    server = _tls_server(serve)
    error = refusal(fetcher(f"localhost:{server.port}"), f"https://localhost:{server.port}/")
    assert (error.reason, error.retryable) == ("tls", True)
    assert server.requests == []


def test_a_certificate_must_be_for_the_name_that_was_asked(serve: Serve) -> None:
    server = _tls_server(serve)
    trusted = ssl.create_default_context(cafile=str(CERTIFICATE))
    private = frozenset({f"localhost:{server.port}", server.host_port})
    tool = GuardedFetcher(frozenset(), private, total_timeout_s=10, tls=trusted)
    assert tool.fetch(f"https://localhost:{server.port}/", io.BytesIO()).size == 8
    assert refusal(tool, f"https://127.0.0.1:{server.port}/").reason == "tls"


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("https://cdn.example.com/a.png", True),
        ("https://CDN.example.com:443/a.png", True),
        ("https://cdn.example.com:8443/a.png", False),
        ("http://cdn.example.com/a.png", False),
        ("https://odd.example.com:8443/a.png", True),
        ("https://odd.example.com/a.png", False),
        ("https://pub-1.r2.dev/a.png", True),
        ("https://a.pub-1.r2.dev/a.png", True),
        ("https://r2.dev/a.png", False),
        ("https://evilr2.dev/a.png", False),
        ("https://pub-1.r2.dev.evil.test/a.png", False),
        ("https://cdn.example.com@evil.test/a.png", False),
        ("https://user@cdn.example.com/a.png", False),
        ("http://127.0.0.1:9000/a.png", True),
        ("https://127.0.0.1:9000/a.png", True),
        ("http://127.0.0.1:9001/a.png", False),
        ("http://[::1]:9000/a.png", True),
        ("javascript:alert(1)", False),
        ("", False),
    ],
)
def test_hosts_are_known_by_name_port_and_suffix(url: str, known: bool) -> None:
    tool = GuardedFetcher(
        frozenset({"cdn.example.com", "odd.example.com:8443", "*.r2.dev"}), frozenset({"127.0.0.1:9000", "[::1]:9000"})
    )
    assert tool.host_known(url) is known


def test_an_entry_without_a_port_is_not_a_private_host() -> None:
    with pytest.raises(ValueError, match="host:port"):
        GuardedFetcher(frozenset(), frozenset({"localhost"}))
