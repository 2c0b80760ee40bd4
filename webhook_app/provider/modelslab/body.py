"""From bytes that a stranger wrote to a clean JSON object. What comes out can be stored and shown: bounded in depth, no
NUL, no lone surrogate, no number beyond 64 bits, without our API key. Nothing here knows what the members mean."""

import json
import math
import re
from typing import Any
from urllib.parse import parse_qsl

import orjson

MAX_DEPTH = 12
MAX_DIGITS = 40
MAX_FIELDS = 500
INTEGERS = range(-(2**63), 2**63)
# A shorter key would be found inside ordinary words; real ones have about 60 characters.
SHORTEST_SECRET = 8

Object = dict[str, Any]

_unstorable = re.compile(r"[\x00\ud800-\udfff]")
_indexed = re.compile(r"([^\[\]]+)\[([^\[\]]*)\]")


def read_object(body: bytes, *, secret: str = "") -> Object | None:
    """The JSON object in `body`; None when it is anything else. `secret` is our key, which a provider may echo."""
    value = _cleaned(_parse(body), secret, 0)
    return value if isinstance(value, dict) else None


def read_form(body: bytes, *, secret: str = "") -> Object | None:
    """A form-encoded body as an object, PHP's `output[]`, `output[0]` and `meta[seed]` included; None when it is none.
    One field that holds a JSON object stands for that object."""
    try:
        fields = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        return None
    form: Object = {}
    for name, text in fields:
        _put(form, name, _field(text))
    only = next(iter(form.values())) if len(form) == 1 else None
    value = _cleaned(only if isinstance(only, dict) else form, secret, 0)
    return value if isinstance(value, dict) and value else None


def json_in(text: str) -> Any:
    """The value of a text that holds a JSON array or object, such as a form field; otherwise None."""
    return _parse(text.encode("utf-8", "replace")) if text[:1] in ("[", "{") else None


def _parse(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _parse_leniently(body)


def _parse_leniently(body: bytes) -> Any:
    """What a strict reader refuses and PHP or Python servers write all the same: a BOM, NaN, bad UTF-8, newlines."""
    try:
        text = body.decode("utf-8-sig", "replace")
        return json.loads(text, parse_int=_integer, parse_constant=lambda _: None, strict=False)
    except (ValueError, RecursionError):
        return None


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= MAX_DIGITS else None


def _cleaned(value: Any, secret: str, depth: int) -> Any:
    match value:
        case str():
            return _clean_text(value, secret)
        case bool() | None:
            return value
        case int():
            return value if value in INTEGERS else str(value)
        case float():
            return value if math.isfinite(value) else None
        case dict() if depth < MAX_DEPTH:
            return {_clean_text(str(name), secret): _cleaned(item, secret, depth + 1) for name, item in value.items()}
        case list() if depth < MAX_DEPTH:
            return [_cleaned(item, secret, depth + 1) for item in value]
        case _:
            return None


def _clean_text(text: str, secret: str) -> str:
    if len(secret) >= SHORTEST_SECRET and secret in text:
        text = text.replace(secret, "[key]")
    # Most text is plain ASCII: a look at it costs less than a search.
    return text if text.isascii() and "\x00" not in text else _unstorable.sub("\ufffd", text)


def _field(text: str) -> Any:
    value = json_in(text)
    return text if value is None else value


def _put(form: Object, name: str, value: Any) -> None:
    match = _indexed.fullmatch(name)
    if match is None:
        form[name] = value
        return
    base, index = match.groups()
    if index == "" or index.isdecimal():
        items = form.setdefault(base, [])
        if isinstance(items, list):
            items.append(value)
    else:
        members = form.setdefault(base, {})
        if isinstance(members, dict):
            members[index] = value
