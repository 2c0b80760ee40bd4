"""The one proxy that is used: what it is told, what it is not, and that the guard holds behind it."""

import io
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.net.conftest import Names
from tests.net.scripted import ScriptedServer, answer
from tests.net.test_fetch import refusal
from tests.net.tunnels import Tunnels
from webhook_app.net.fetch import GuardedFetcher
from webhook_app.net.post import GuardedSender
from webhook_app.net.proxy import Proxy, ProxyFailed, proxy_at

Serve = Callable[..., ScriptedServer]
CERTIFICATE = Path(__file__).with_name("localhost.pem")
PUBLIC = "93.184.216.34"


def fetcher(proxy: Tunnels, *private: str, **more: Any) -> GuardedFetcher:
    trust = ssl.create_default_context(cafile=str(CERTIFICATE))
    given: dict[str, Any] = {"total_timeout_s": 10, "tls": trust, "proxy": proxy_at(proxy.url)} | more
    return GuardedFetcher(frozenset(), frozenset(private), **given)


def over_tls(serve: Serve) -> ScriptedServer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return serve(lambda path: [answer(b"picture")], context)


def test_the_proxy_is_told_the_checked_address_and_tls_verifies_the_name(serve: Serve, names: Names) -> None:
    server = over_tls(serve)
    names.answers["localhost"] = [[PUBLIC]]
    names.answers["elsewhere.example"] = [[PUBLIC]]
    with Tunnels({f"{PUBLIC}:443": server.port}) as proxy:
        sink = io.BytesIO()
        fetcher(proxy).fetch("https://localhost/a.png", sink)
        assert refusal(fetcher(proxy), "https://elsewhere.example/a.png").reason == "tls"
    assert sink.getvalue() == b"picture"
    assert [head.split("\r\n")[:2] for head in proxy.heads] == [
        [f"CONNECT {PUBLIC}:443 HTTP/1.1", f"Host: {PUBLIC}:443"]
    ] * 2
    assert names.asked.count("localhost") == 1
    assert "localhost" in server.requests[0]


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1"])
def test_what_is_forbidden_directly_is_forbidden_through_the_proxy(names: Names, address: str) -> None:
    names.answers["evil.example"] = [[address]]
    with Tunnels({}) as proxy:
        error = refusal(fetcher(proxy), "https://evil.example/a.png")
    assert (error.reason, error.retryable, proxy.heads) == ("address_refused", False, [])


def test_an_allowed_host_without_tls_goes_through_a_tunnel_too(serve: Serve) -> None:
    server = serve(lambda path: [answer(b"picture")])
    with Tunnels({server.host_port: server.port}) as proxy:
        fetcher(proxy, server.host_port).fetch(f"{server.url}/a.png", io.BytesIO())
    assert len(proxy.heads) == len(server.requests) == 1


def test_each_address_is_tried_in_turn(serve: Serve, names: Names) -> None:
    server = over_tls(serve)
    names.answers["localhost"] = [["2606:2800:220:1:248:1893:25c8:1946", PUBLIC]]
    with Tunnels({f"{PUBLIC}:443": server.port}) as proxy:
        fetcher(proxy).fetch("https://localhost/a.png", io.BytesIO())
    assert proxy.heads[0].startswith("CONNECT [2606:2800:220:1:248:1893:25c8:1946]:443 HTTP/1.1\r\n")


def test_credentials_go_to_the_proxy_and_show_nowhere(serve: Serve) -> None:
    server = serve(lambda path: [answer(b"picture")])
    with Tunnels({server.host_port: server.port}, credentials="us%40home:CANARY:%2F") as proxy:
        tool = fetcher(proxy, server.host_port)
        tool.fetch(f"{server.url}/a.png", io.BytesIO())
        assert proxy.credentials_seen == ["us@home:CANARY:/"]
        way_out = proxy_at(proxy.url)
        assert "CANARY" not in f"{way_out!r} {way_out} {vars(tool)}"
        nobody = Proxy("127.0.0.1", proxy.port)
        with pytest.raises(ProxyFailed, match="407"):
            nobody.tunnel("127.0.0.1", server.port, timeout=5)
    assert "proxy-authorization" not in server.requests[0].lower()


def test_webhooks_go_through_it_too(serve: Serve, names: Names) -> None:
    server = over_tls(serve)
    names.answers |= {"localhost": [[PUBLIC]], "evil.example": [["10.0.0.1"]]}
    trust = ssl.create_default_context(cafile=str(CERTIFICATE))
    with Tunnels({f"{PUBLIC}:443": server.port}, credentials="us:CANARY") as proxy:
        sender = GuardedSender(frozenset(), tls=trust, proxy=proxy_at(proxy.url))
        assert sender.post("https://localhost/hooks", b"{}", {}).status_code == 200
        assert sender.post("https://evil.example/hooks", b"{}", {}).forbidden
    assert len(proxy.heads) == 1
    away = sender.post("https://localhost/hooks", b"{}", {})
    assert (away.status_code, away.error, away.forbidden) == (None, "proxy", False)
    assert "CANARY" not in f"{away} {vars(sender)}"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "502"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "no status"),
        (b"HTTP/1.1\r\n\r\n", "no status"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000, "does not speak HTTP"),
        (b"\x00", "does not answer"),
    ],
)
def test_a_proxy_that_says_something_else_is_a_failure_that_may_pass(serve: Serve, said: bytes, told: str) -> None:
    server = serve(lambda path: [answer(b"picture")])
    with Tunnels({server.host_port: server.port}, answer=said) as proxy, pytest.raises(ProxyFailed, match=told):
        proxy_at(proxy.url).tunnel("127.0.0.1", server.port, timeout=2)


def test_a_failure_of_the_proxy_is_named_and_may_pass(serve: Serve) -> None:
    server = serve(lambda path: [answer(b"picture")])
    with Tunnels({}) as proxy:
        error = refusal(fetcher(proxy, server.host_port), server.url)
    assert (error.reason, error.retryable, server.requests) == ("proxy", True, [])
    error = refusal(fetcher(proxy, server.host_port), server.url)
    assert (error.reason, error.retryable) == ("proxy", True)


def test_the_total_time_covers_the_proxy(serve: Serve) -> None:
    silent = serve(lambda path: [])
    silent._script = lambda path: silent.drip([b"H"] * 1000, 0.05)  # type: ignore[method-assign]
    tool = GuardedFetcher(
        frozenset(), frozenset({"127.0.0.1:9"}), total_timeout_s=0.5, proxy=Proxy("127.0.0.1", silent.port)
    )
    assert refusal(tool, "http://127.0.0.1:9/a.png").reason == "timeout"


@pytest.mark.parametrize(
    "url", ["proxy:3128", "https://proxy:3128", "socks5://proxy", "http://", "http://proxy:0x1", "http://proxy/path"]
)
def test_what_is_no_proxy_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must"):
        proxy_at(url)


def test_the_parts_of_a_proxy_s_address() -> None:
    assert proxy_at("http://proxy") == Proxy("proxy", 80)
    assert proxy_at("http://[::1]:3128/") == Proxy("::1", 3128)
