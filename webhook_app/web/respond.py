"""Answers in JSON: instants as RFC 3339 UTC with `Z`, written by orjson."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flask import Response
from werkzeug.datastructures import Headers

from webhook_app.flows.show import dumps

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

__all__ = ["JSON", "PROBLEM", "dumps", "json_response"]

JSON = "application/json"
PROBLEM = "application/problem+json"


class Answer(Response):
    """A `Location` of ours is a URI already: it is not taken to pieces to make one of it."""

    def get_wsgi_headers(self, environ: "WSGIEnvironment") -> Headers:
        location = self.headers.pop("Location", None)
        headers = super().get_wsgi_headers(environ)
        if location is not None:
            headers.add("Location", location)
            self.headers.add("Location", location)
        return headers


def json_response(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None, *, content_type: str = JSON
) -> Response:
    """An answer with this value as its body."""
    return Answer(
        dumps(value), status=status, headers=list(headers.items()) if headers else None, content_type=content_type
    )
