"""Hostile JSON: refused before anything is stored, each with its own answer."""

from typing import Any

import pytest

from webhook_app.domain.errors import InvalidField, MalformedJson
from webhook_app.web.reading import parse, pointer


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b'{"a": 1} trailing',
        b"{'a': 1}",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e400}',
        b'{"a": 1, "a": 2}',
        b'{"x": {"a": 1, "a": 1}}',
        b'{"a": "\xff"}',
        '{"a": 1}'.encode("utf-16"),
        b'\xef\xbb\xbf{"a": 1}',
        b"[" * 100_000,
        b'{"a": ' + b"9" * 10_000 + b"}",
        b'{"a": "\n"}',
    ],
)
def test_what_is_not_json_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedJson):
        parse(raw)


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        (rb'{"a": "x\u0000y"}', "/a"),
        (rb'{"a": ["ok", "\ud800"]}', "/a/1"),
        (rb'{"a": {"b/c": "\udfff"}}', "/a/b~1c"),
        (rb'{"a": 9223372036854775808}', "/a"),
        (rb'{"a": {"x\u0000": 1}}', "/a"),  # The name itself cannot be shown.
    ],
)
def test_what_cannot_be_stored_is_named_by_pointer(raw: bytes, where: str) -> None:
    with pytest.raises(InvalidField) as caught:
        parse(raw)
    assert [fault["pointer"] for fault in caught.value.errors] == [where]


def test_values_may_be_nested_but_not_without_end() -> None:
    assert parse(b"[" * 30 + b"]" * 30)
    with pytest.raises(InvalidField):
        parse(b"[" * 40 + b"]" * 40)


@pytest.mark.parametrize(
    ("raw", "value"), [(b'{"a": "\xf0\x9f\x90\x99"}', {"a": "🐙"}), (rb'"\ud83d\udc19"', "🐙"), (b"1e3", 1000.0)]
)
def test_good_json_is_read_as_it_is(raw: bytes, value: Any) -> None:
    assert parse(raw) == value


def test_a_pointer_escapes_as_rfc_6901_says() -> None:
    assert pointer(("a/b", "m~n", 0)) == "/a~1b/m~0n/0"
    assert pointer(()) == ""
