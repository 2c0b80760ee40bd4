"""Answers in JSON: instants as RFC 3339 UTC with `Z`, written by orjson."""

from collections.abc import Mapping
from typing import Any

from flask import Response

from webhook_app.flows.show import dumps

__all__ = ["JSON", "PROBLEM", "dumps", "json_response"]

JSON = "application/json"
PROBLEM = "application/problem+json"


def json_response(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None, *, content_type: str = JSON
) -> Response:
    """An answer with this value as its body."""
    return Response(
        dumps(value), status=status, headers=list(headers.items()) if headers else None, content_type=content_type
    )
