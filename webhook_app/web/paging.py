"""Pages of lists: signed cursors that name the last row shown, and the `Link` to the next page (RFC 8288)."""

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

import orjson
from flask import Response, request
from pydantic import BaseModel, ConfigDict, Field

from webhook_app.domain.errors import InvalidField
from webhook_app.domain.tokens import Tokens
from webhook_app.web import reading
from webhook_app.web.respond import json_response
from webhook_app.wiring import Parts

PURPOSE = "page cursor"
Limit = Annotated[int, Field(ge=1, le=200)]


Wait = Annotated[int, Field(ge=0, le=999_999_999, description="Seconds, cut to the installation's most.")] | None


class Query(BaseModel):
    """A query string: text in, so numbers are read from text; unknown parameters are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Page(Query):
    """The parameters of every list."""

    limit: Limit = 50
    cursor: Annotated[str, Field(max_length=1_000)] | None = None


def cursor_of(tokens: Tokens, listing: str, position: Sequence[Any]) -> str:
    """A cursor that only this installation can make, good for one listing: `listing` names it and its order."""
    text = base64.urlsafe_b64encode(orjson.dumps(list(position))).decode().rstrip("=")
    return f"{text}.{tokens.sign(PURPOSE, _message(listing, text))}"


def _message(listing: str, text: str) -> str:
    return f"{listing}\n{text}"


def position_of(tokens: Tokens, listing: str, cursor: str | None) -> list[Any] | None:
    """The position in a cursor, None without one. Raises `InvalidField` for a cursor of another list or nobody's."""
    if cursor is None:
        return None
    text, _, signature = cursor.partition(".")
    if not tokens.check(PURPOSE, _message(listing, text), signature):
        raise InvalidField("This cursor was not made for this list.", pointer="/cursor")
    try:
        position: list[Any] = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, orjson.JSONDecodeError) as error:
        raise InvalidField("This cursor cannot be read.", pointer="/cursor") from error
    return position


def instant_and_id(position: list[Any] | None) -> tuple[datetime, Any] | None:
    """A position that is an instant and a tie-break."""
    return None if position is None else (datetime.fromisoformat(position[0]), position[1])


def page(public_url: str, data: list[Any], next_cursor: str | None) -> Response:
    """`{data, next_cursor, has_more}`, with the `Link` to the next page when there is one."""
    headers = {}
    if next_cursor is not None:
        again = [(name, value) for name, value in request.args.items(multi=True) if name != "cursor"]
        url = f"{public_url}{request.path}?{urlencode([*again, ('cursor', next_cursor)])}"
        headers["Link"] = f'<{url}>; rel="next"'
    body = {"data": data, "next_cursor": next_cursor, "has_more": next_cursor is not None}
    return json_response(body, headers=headers)


class Listing:
    """A request for a page of the list `name`, which is ordered by the columns `key`. Reads the query string, unless it
    was `asked` already. `after` is the key of the last row of the page before; read one row more than `limit`."""

    def __init__(self, parts: Parts, name: str, key: tuple[str, ...], asked: Page | None = None) -> None:
        asked = asked or reading.query(Page)
        self._parts, self._name, self._key = parts, name, key
        self.limit = asked.limit
        self.after = position_of(parts.tokens, name, asked.cursor)

    def page(self, rows: Sequence[dict[str, Any]], show: Callable[[dict[str, Any]], Any]) -> Response:
        """The answer: each row shown, and the cursor when there is a row beyond the limit."""
        return self.shown([show(row) for row in rows[: self.limit]], rows)

    def shown(self, data: list[Any], rows: Sequence[dict[str, Any]]) -> Response:
        """The answer with rows that were shown already."""
        cursor = None
        if len(rows) > self.limit:
            last = rows[self.limit - 1]
            cursor = cursor_of(self._parts.tokens, self._name, [last[name] for name in self._key])
        return page(self._parts.settings.public_url, data, cursor)
