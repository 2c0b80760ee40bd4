"""The battery: URLs that try to reach where they must not. Sockets are recorded; none is made."""

import io
from collections.abc import Sequence

import pytest

from tests.net.conftest import Names
from webhook_app.domain.addresses import may_reach
from webhook_app.domain.errors import FetchError
from webhook_app.net.fetch import GuardedFetcher

FETCHER = GuardedFetcher(frozenset(), frozenset(), total_timeout_s=10)

# What a name resolves to; hosts that are no names resolve to what the system's own resolver makes of them.
BATTERY_PUBLIC = [
    ("https://ok.test/a.png", ["93.184.215.14"]),
    ("https://ok6.test/a.png", ["2606:4700::6810:84e5"]),
    ("https://both.test/a.png", ["93.184.215.14", "2606:4700::6810:84e5"]),
    ("https://1.1.1.1/a.png", []),
    ("https://[2606:4700::6810:84e5]/a.png", []),
]
BATTERY_REFUSED = [
    ("https://loop.test/", ["127.0.0.1"]),
    ("https://private.test/", ["10.0.0.1"]),
    ("https://mixed.test/", ["93.184.215.14", "10.0.0.1"]),
    ("https://mixed6.test/", ["93.184.215.14", "::1"]),
    ("https://last.test/", ["93.184.215.14", "2606:4700::6810:84e5", "169.254.169.254"]),
    ("https://mapped.test/", ["::ffff:127.0.0.1"]),
    ("https://mapped-private.test/", ["::ffff:192.168.0.1"]),
    ("https://compatible.test/", ["::127.0.0.1"]),
    ("https://sixtofour.test/", ["2002:7f00:1::"]),
    ("https://nat64.test/", ["64:ff9b::7f00:1"]),
    ("https://teredo.test/", ["2001:0:4136:e378:8000:63bf:80ff:fffe"]),
    ("https://isatap.test/", ["2606:4700::5efe:7f00:1"]),
    ("https://isatap-u.test/", ["2606:4700::200:5efe:a9fe:a9fe"]),
    ("https://site-local.test/", ["fec0::1"]),
    ("https://link-local.test/", ["fe80::1"]),
    ("https://ula.test/", ["fd00:ec2::254"]),
    ("https://azure.test/", ["168.63.129.16"]),
    ("https://cgnat.test/", ["100.100.100.200"]),
    ("https://oracle.test/", ["192.0.0.192"]),
    ("https://zero.test/", ["0.0.0.0"]),  # noqa: S104  an address to refuse, nothing is bound
    ("https://multicast.test/", ["224.0.0.1"]),
    ("https://broadcast.test/", ["255.255.255.255"]),
    ("https://localhost/", ["127.0.0.1", "::1"]),
    ("https://localhost./", ["127.0.0.1"]),
    ("https://127.0.0.1/", []),
    ("https://127.1/", []),
    ("https://2130706433/", []),
    ("https://0x7f000001/", []),
    ("https://0x7f.1/", []),
    ("https://0177.0.0.1/", []),
    ("https://017700000001/", []),
    ("https://0/", []),
    ("https://169.254.169.254/latest/meta-data/", []),
    ("https://[::1]/", []),
    ("https://[::]/", []),
    ("https://[::ffff:127.0.0.1]/", []),
    ("https://[::ffff:7f00:1]/", []),
    ("https://[::127.0.0.1]/", []),
    ("https://[64:ff9b::127.0.0.1]/", []),
    ("https://[2002:7f00:1::]/", []),
    ("https://[fec0::1]/", []),
    ("https://[fe80::1%25lo]/", []),
    ("https://[fd00:ec2::254]/", []),
    ("https://１２７.０.０.１/", []),
    ("https://ok.test@127.0.0.1/", []),
    ("https://user:secret@ok.test/", ["93.184.215.14"]),
]
MORE_PUBLIC = [
    ("https://ok.test./a.png", ["93.184.215.14"]),
    ("https://ok.test/#@127.0.0.1/", ["93.184.215.14"]),
]
MORE_REFUSED = [
    ("https://①②⑦.⓪.⓪.①/", []),
    ("https://127。0。0。1/", []),
    ("https://ok.test\\@127.0.0.1/", []),
    ("https://127.0.0.1\\@ok.test/", []),
    ("https://127.0.0.1#@ok.test/", []),
    ("https://ok.test:0/", ["93.184.215.14"]),
    ("https://ok.test:99999/", ["93.184.215.14"]),
    ("https://ok.test/\r\nHost: other", ["93.184.215.14"]),
    ("https:///127.0.0.1/", []),
    ("https://", []),
    ("//127.0.0.1/", []),
    ("http://ok.test/", ["93.184.215.14"]),
    ("file:///etc/passwd", []),
    ("gopher://127.0.0.1:70/_", []),
    ("ftp://127.0.0.1/", []),
    ("data:image/png;base64,iVBORw0KGgo=", []),
    ("javascript:alert(1)", []),
    ("", []),
]


def _try(url: str, answers: Sequence[str], names: Names) -> FetchError:
    if answers:
        host = url.split("://")[1].split("/")[0].split("@")[-1].split(":")[0]
        names.answers[host] = [list(answers)]
    with pytest.raises(FetchError) as caught:
        FETCHER.fetch(url, io.BytesIO())
    return caught.value


def test_of_51_targets_5_are_dialled_and_46_are_not(names: Names, dialled: list[str]) -> None:
    passed = []
    for url, answers in [*BATTERY_PUBLIC, *BATTERY_REFUSED]:
        dialled.clear()
        _try(url, answers, names)
        if dialled:
            passed.append(url)
    assert (len(BATTERY_PUBLIC), len(BATTERY_REFUSED)) == (5, 46)
    assert passed == [url for url, _ in BATTERY_PUBLIC]


@pytest.mark.parametrize(("url", "answers"), [*BATTERY_PUBLIC, *MORE_PUBLIC])
def test_a_public_target_is_dialled(url: str, answers: list[str], names: Names, dialled: list[str]) -> None:
    assert _try(url, answers, names).reason == "connection"
    assert dialled
    assert all(may_reach(address) for address in dialled)


@pytest.mark.parametrize(("url", "answers"), [*BATTERY_REFUSED, *MORE_REFUSED])
def test_a_forbidden_target_is_not_dialled(url: str, answers: list[str], names: Names, dialled: list[str]) -> None:
    error = _try(url, answers, names)
    assert dialled == []
    assert not error.retryable
    assert error.reason in {"address_refused", "bad_url", "scheme_refused", "userinfo", "plain_http"}


def test_a_rebound_name_is_resolved_once_and_dialled_where_it_was_checked(names: Names, dialled: list[str]) -> None:
    names.answers["rebind.test"] = [["93.184.215.14"], ["127.0.0.1"]]
    with pytest.raises(FetchError, match="connection"):
        FETCHER.fetch("https://rebind.test/a.png", io.BytesIO())
    assert names.asked == ["rebind.test"]
    assert dialled == ["93.184.215.14"]


def test_a_name_that_does_not_exist_may_exist_later(names: Names, dialled: list[str]) -> None:
    with pytest.raises(FetchError, match="dns") as caught:
        FETCHER.fetch("https://missing.test/a.png", io.BytesIO())
    assert caught.value.retryable
    assert dialled == []


def test_a_label_too_long_for_dns_is_no_crash(
    names: Names, dialled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FetchError):
        FETCHER.fetch(f"https://{'a' * 64}.test/a.png", io.BytesIO())
    assert dialled == []
