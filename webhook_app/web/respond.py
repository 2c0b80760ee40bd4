"""Answers in JSON: instants as RFC 3339 UTC with `Z`, written by orjson."""

from collections.abc import Mapping
from typing import Any

import orjson
from flask import Response

JSON = "application/json"
PROBLEM = "application/problem+json"


def dumps(value: Any) -> bytes:
    """JSON in UTF-8. Aware datetimes become RFC 3339 with `Z`."""
    return orjson.dumps(value, option=orjson.OPT_UTC_Z)


def json_response(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None, *, content_type: str = JSON
) -> Response:
    """An answer with this value as its body."""
    response = Response(dumps(value), status=status, content_type=content_type)
    response.headers.update(headers or {})
    return response
