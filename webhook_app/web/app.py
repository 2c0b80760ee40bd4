"""The Flask application: what every request and every answer goes through, and which pages there are."""

import re

from flask import Flask, Response, g, request

from webhook_app.domain.errors import NotFound
from webhook_app.domain.ids import new_id
from webhook_app.web import api, callbacks, errors, health, images, jwks, metrics, openapi, pages
from webhook_app.web.auth import Authenticator
from webhook_app.web.reading import CONTEXT, LARGEST_BODY
from webhook_app.web.registry import Registry
from webhook_app.web.schemas import MAY_NAME
from webhook_app.wiring import Parts

PAGES = (api, openapi, callbacks, images, health, jwks, metrics, pages)
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
SAFE = [(name.lower(), name, value) for name, value in SAFE_HEADERS.items()]


def create_app(parts: Parts) -> Flask:
    """The web process's application. It needs no database to be made."""
    app = Flask("webhook_app.web", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY
    app.url_map.strict_slashes = True
    authenticator = Authenticator(parts.store, parts.settings.bootstrap_api_key)
    registry = Registry(authenticator.guard)
    app.extensions["authenticator"] = authenticator
    app.extensions["registry"] = registry
    app.extensions[CONTEXT] = {MAY_NAME: parts.sender.may_name}
    app.before_request(_name_request)
    app.after_request(_finish)
    errors.install(app)
    for page in PAGES:
        page.register(app, parts, registry)
    return app


def _name_request() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else new_id("req")
    if "\0" in request.path:
        # No id of ours holds one, and PostgreSQL takes it for an error where SQLite finds nothing.
        raise NotFound("There is nothing at this address.")


def _finish(response: Response) -> Response:
    headers = response.headers
    headers.add("X-Request-Id", errors.request_id())
    # Adding is cheap; each look for a name would go through all of them.
    present = {name.lower() for name, _ in headers}
    for lower, name, value in SAFE:
        if lower not in present:
            headers.add(name, value)
    return response
