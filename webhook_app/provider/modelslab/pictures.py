"""Which pictures an answer offers, and at which addresses: `output`, `proxy_links`, `links` in every shape seen
(the contract page, 2.1, 5.1, 6.2). Never `future_links`: they are placeholders until the picture exists."""

import re
from collections.abc import Iterator
from typing import Any

from webhook_app.domain.outcome import Picture
from webhook_app.provider.modelslab.body import Object, json_in

MAX_PICTURES = 10
MAX_URL = 2048
TYPE_BY_START = {"iVBORw0KGgo": "image/png", "/9j/": "image/jpeg", "UklGR": "image/webp"}

_url = re.compile(r"(https?://[^/?#\\@]+)(?=[/?#]|\Z)/*([^\\]*)", re.IGNORECASE | re.DOTALL)
_not_in_urls = re.compile(r"[\x00-\x20\x7f\ud800-\udfff]")
_data_uri = re.compile(r"data:(image/[a-z0-9.+-]{1,40})(?:;[a-z-]+=[a-z0-9-]*)*;base64,", re.IGNORECASE)
_base64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_space = re.compile(r"\s+")


def pictures_in(answer: Object) -> tuple[Picture, ...]:
    """The usable pictures by index, at most ten, each with its addresses in the order to try. An address that cannot be
    used is left out; a picture without any is left out too, and the others keep their index."""
    columns = [_addresses(answer.get("output")), _addresses(answer.get("proxy_links"))]
    if not any(columns):
        columns = [_addresses(answer.get("links"))]
    indexes = sorted({index for column in columns for index in column})
    return tuple(Picture(i, _distinct(column.get(i) for column in columns)) for i in indexes[:MAX_PICTURES])


def _distinct(addresses: Iterator[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(address for address in addresses if address is not None))


def _addresses(value: Any) -> dict[int, str]:
    found = ((index, address_of(text)) for index, text in _texts(value))
    return {index: address for index, address in found if address is not None}


def _texts(value: Any) -> Iterator[tuple[int, Any]]:
    if isinstance(value, str):
        inner = json_in(value.strip())
        value = [value] if inner is None else inner
    if isinstance(value, list):
        yield from enumerate(value[:MAX_PICTURES])
    elif isinstance(value, dict):
        for place, (name, text) in zip(range(MAX_PICTURES), value.items(), strict=False):
            # `{"0": url}`: the name is the index. Other names only have their order.
            yield (int(name) if name in _INDEXES else place), text


_INDEXES = frozenset(str(index) for index in range(MAX_PICTURES))


def address_of(text: Any) -> str | None:
    """An http(s) URL, or a `data:` URI for bytes that came inline; None for anything that cannot be used."""
    if not isinstance(text, str):
        return None
    text = text.strip()
    if text[:5].lower() == "data:":
        return _from_data_uri(text)
    return _from_url(text) if "://" in text[:10] else _from_inline(text)


def _from_url(text: str) -> str | None:
    match = _url.fullmatch(text)
    if match is None or len(text) > MAX_URL or _not_in_urls.search(text):
        return None
    host, rest = match.groups()
    # A doubled slash after the host appears at times, and the address with one is the right one (6.2).
    return f"{host}{rest}" if rest[:1] in ("?", "#") else f"{host}/{rest}"


def _from_data_uri(text: str) -> str | None:
    match = _data_uri.match(text)
    if match is None:
        return None
    data = _space.sub("", text[match.end() :])
    return f"data:{match[1].lower()};base64,{data}" if _base64.fullmatch(data) else None


def _from_inline(text: str) -> str | None:
    kind = next((kind for start, kind in TYPE_BY_START.items() if text.startswith(start)), None)
    if kind is None:
        return None
    data = _space.sub("", text)
    return f"data:{kind};base64,{data}" if _base64.fullmatch(data) else None
