"""The Flask application: what every request and every answer goes through, and which pages there are."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask, request

from webhook_app.domain.errors import NotFound
from webhook_app.domain.ids import new_id
from webhook_app.web import api, callbacks, errors, health, images, jwks, metrics, openapi, pages
from webhook_app.web.auth import Authenticator
from webhook_app.web.errors import REQUEST_ID
from webhook_app.web.reading import CONTEXT, LARGEST_BODY
from webhook_app.web.registry import Registry
from webhook_app.web.schemas import MAY_NAME
from webhook_app.wiring import Parts

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PAGES = (api, openapi, callbacks, images, health, jwks, metrics, pages)
MAY_NAME_A_REQUEST = re.compile(r"[A-Za-z0-9._-]{1,100}")
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
    app.before_request(_refuse_nul)
    app.wsgi_app = _with_common_headers(app.wsgi_app)  # type: ignore[assignment,method-assign]
    errors.install(app)
    for page in PAGES:
        page.register(app, parts, registry)
    return app


def _refuse_nul() -> None:
    if "\0" in request.path:
        # No id of ours holds one, and PostgreSQL takes it for an error where SQLite finds nothing.
        raise NotFound("There is nothing at this address.")


def _with_common_headers(app: "WSGIApplication") -> "WSGIApplication":
    """Names each request, and adds what every answer has. Not in `after_request`: on its way out from there werkzeug
    looks at each header twice."""

    def answering(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        given = environ.get("HTTP_X_REQUEST_ID", "")
        named = environ[REQUEST_ID] = given if MAY_NAME_A_REQUEST.fullmatch(given) else new_id("req")

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            present = {name.lower() for name, _ in headers}
            common = [(name, value) for lower, name, value in SAFE if lower not in present]
            return start_response(status, [*headers, ("X-Request-Id", named), *common], exc_info)

        return app(environ, start)

    return answering
