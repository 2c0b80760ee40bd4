"""Errors become problems (RFC 9457) here and nowhere else: ours, werkzeug's, and what nobody foresaw."""

import re
from typing import Any

import structlog
from flask import Flask, Response, has_request_context, request
from werkzeug.exceptions import HTTPException

from webhook_app.domain.errors import (
    DatabaseUnavailable,
    Internal,
    MalformedJson,
    MethodNotAllowed,
    NotFound,
    ProblemError,
    TooLarge,
    Unauthenticated,
    UnsupportedMediaType,
)
from webhook_app.web.respond import PROBLEM, json_response

log = structlog.get_logger()
REQUEST_ID = "webhook_app.request_id"  # In the WSGI environment.
CALLBACK_TOKEN = re.compile(r"^(/callbacks/[^/]+/[^/]+/).+$", re.DOTALL)
KNOWN: dict[int, type[ProblemError]] = {
    error.status: error for error in (NotFound, MethodNotAllowed, TooLarge, UnsupportedMediaType, Unauthenticated)
}
RETRY_AFTER_S: dict[type[ProblemError], int] = {DatabaseUnavailable: 5}


def shown_path() -> str:
    """The request's path as it may be logged and answered: a callback's token is masked."""
    return CALLBACK_TOKEN.sub(r"\1***", request.path)


def request_id() -> str:
    """The id of this request, as in `X-Request-Id`."""
    found: str = request.environ.get(REQUEST_ID, "") if has_request_context() else ""
    return found


def problem(error: ProblemError) -> Response:
    """The answer for one of our errors."""
    response = _response(error.code, error.title, error.status, error.detail, error.errors)
    retry_after_s = error.retry_after_s if error.retry_after_s is not None else RETRY_AFTER_S.get(type(error))
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(retry_after_s)
    if isinstance(error, Unauthenticated):
        response.headers["WWW-Authenticate"] = 'Bearer realm="webhook-app"'
    return response


def _response(code: str, title: str, status: int, detail: str, errors: list[dict[str, str]]) -> Response:
    body: dict[str, Any] = {
        "type": f"/docs/errors#{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": shown_path(),
        "code": code,
        "request_id": request_id(),
        "errors": errors,
    }
    return json_response(body, status, content_type=PROBLEM)


def _of_werkzeug(error: HTTPException) -> Any:
    if error.code is None or error.code < 400:
        return error  # A redirect is an answer.
    if error.code in KNOWN:
        kind = KNOWN[error.code]
        response = problem(kind(_detail(kind, error)))
    elif error.code == MalformedJson.status:
        response = _response("bad_request", "Bad request", 400, "The request cannot be understood.", [])
    else:
        code = error.name.lower().replace(" ", "_").replace("-", "_")
        response = _response(code, error.name, error.code, error.name + ".", [])
    for name, value in error.get_headers():
        if name not in ("Content-Type", "Content-Length"):
            response.headers[name] = value
    return response


def _detail(kind: type[ProblemError], error: HTTPException) -> str:
    if kind is NotFound:
        return "There is nothing at this address."
    if kind is MethodNotAllowed:
        return f"This address does not answer {request.method}."
    return kind.title + "."


def _of_anything(error: Exception) -> Response:
    log.error("request.failed", request_id=request_id(), method=request.method, path=shown_path(), exc_info=error)
    detail = "Something went wrong here; the request_id finds it in our log."
    return _response(Internal.code, Internal.title, Internal.status, detail, [])


def install(app: Flask) -> None:
    """Translate everything that a view raises."""
    app.register_error_handler(ProblemError, problem)
    app.register_error_handler(HTTPException, _of_werkzeug)
    app.register_error_handler(Exception, _of_anything)
