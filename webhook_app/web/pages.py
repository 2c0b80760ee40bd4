"""Pages for people: the front page, the documentation and the list of problems. They work offline."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from flask import Flask, Response, make_response, render_template, request, send_file
from flask.typing import ResponseReturnValue

from webhook_app import __version__
from webhook_app.domain.errors import ErrorCode, NotFound, ProblemError
from webhook_app.web.registry import Registry
from webhook_app.web.respond import json_response
from webhook_app.wiring import Parts

NAME = "webhook-app"
HTML = "text/html"
STATIC = Path(__file__).parent / "static"
SERVED = frozenset(
    {"page.css", "docs.js", "vendor/swagger-ui/swagger-ui.css", "vendor/swagger-ui/swagger-ui-bundle.js"},
)
CONTENT_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
CLOSED = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
ONLY_OURS = f"{CLOSED}; style-src 'self'; img-src data:"
# Swagger UI writes style attributes into its elements and asks this server alone.
SWAGGER_UI = f"{CLOSED}; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'"


@dataclass(frozen=True, slots=True)
class Problem:
    """One line of the list of problems."""

    code: str
    status: int
    title: str
    advice: str


# Those that the HTTP library finds by itself.
OF_HTTP = (
    Problem("bad_request", 400, "Bad request", "The request is not HTTP as it should be; the detail may say more."),
    Problem("requested_range_not_satisfiable", 416, "No such range", "Content-Range says how long the picture is."),
)
ADVICE = {
    "malformed_json": "Send the body as JSON in UTF-8.",
    "unauthenticated": "Send a valid key as Authorization: Bearer KEY.",
    "insufficient_scope": "Use a key that carries the scope named in the detail.",
    "link_not_valid": "Read the job again: it shows a fresh address.",
    "not_found": "It does not exist, or it belongs to another client.",
    "image_not_ready": "The address is right and stays; ask again after Retry-After, or wait for the job.",
    "method_not_allowed": "The Allow header says what this address answers.",
    "job_already_ended": "Read the job: it says how it ended.",
    "not_on_hold": "Only a job with waiting_for confirmation can be resolved; read the job.",
    "endpoint_not_active": "Enable the endpoint, or make one with this URL; then ask again.",
    "cursor_ahead": "The database was restored from a backup; start again from its current end.",
    "idempotency_in_progress": "Send the same request again in a moment.",
    "erased": "The content was removed on request and does not come back.",
    "gone": "The provider's copy went away before it could be kept. Run the job again.",
    "too_large": "Send less: a body may have 1 MiB.",
    "unsupported_media_type": "Send Content-Type: application/json.",
    "invalid_field": "errors names each field by pointer and says what it takes.",
    "unknown_field": "errors names the fields; look for a typing error.",
    "idempotency_mismatch": "Use a new key for a new request.",
    "too_many_waiters": "Ask without waiting, or again after Retry-After.",
    "rate_limited": "Send again after Retry-After.",
    "database_unavailable": "Send again after Retry-After; with an Idempotency-Key that is always safe.",
    "archive_unavailable": "The picture is safe or on its way; ask again after Retry-After.",
    "internal": "Our fault. Report the request_id.",
}
JOB_ERRORS = {
    ErrorCode.INVALID_INPUT: "The provider did not accept the input.",
    ErrorCode.PROVIDER_AUTH: "The provider does not accept this server's key.",
    ErrorCode.PROVIDER_QUOTA: "This server's account with the provider is used up.",
    ErrorCode.PROVIDER_REFUSED: "The provider turned the request down; provider_message has its words.",
    ErrorCode.GENERATION_FAILED: "The provider tried and could not make the picture.",
    ErrorCode.ATTEMPTS_EXHAUSTED: "The provider asked to try again, and every attempt failed.",
    ErrorCode.SUBMIT_UNCONFIRMED: "Nobody knows whether the provider took the request, and it was not to be repeated.",
    ErrorCode.NO_RESULT: "The provider did not finish within timeout_s.",
    ErrorCode.INTERNAL: "A fault of this server.",
}


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """`/`, `/docs`, `/docs/errors` and the files that they need."""
    public_url = parts.settings.public_url

    @registry.route(app, "GET", "/", scope=None, summary="What this is", answers={200: "application/json"})
    def get_root() -> ResponseReturnValue:
        """JSON unless HTML is preferred, as browsers do."""
        if request.accept_mimetypes.best_match(["application/json", HTML]) == HTML:
            response = _page("root.html", public_url=public_url)
        else:
            found = {"name": NAME, "version": __version__}
            response = json_response(found | {"docs": f"{public_url}/docs", "openapi": f"{public_url}/openapi.json"})
        response.vary.add("Accept")
        return response

    @registry.route(app, "GET", "/docs", scope=None, summary="The documentation", answers={200: HTML})
    def get_docs() -> ResponseReturnValue:
        """Swagger UI over `/openapi.json`."""
        return _page("docs.html", csp=SWAGGER_UI)

    @registry.route(app, "GET", "/docs/errors", scope=None, summary="Every problem's code", answers={200: HTML})
    def get_errors() -> ResponseReturnValue:
        """The `type` of a problem leads here."""
        return _page("errors.html", problems=problems(), job_errors=JOB_ERRORS.items())

    answers: dict[int, str | None] = {200: "*/*", 404: None}

    @registry.route(app, "GET", "/static/<path:name>", scope=None, summary="A file of the pages", answers=answers)
    def get_static(name: str) -> ResponseReturnValue:
        """Only the files that come with the program."""
        return _static(name)


def problems() -> list[Problem]:
    """Every code that an answer may carry, by status; read from the tree of errors itself."""
    kinds = {kind.code: kind for kind in _descendants(ProblemError)}
    rows = [Problem(kind.code, kind.status, kind.title, ADVICE[kind.code]) for kind in kinds.values()]
    return sorted((*rows, *OF_HTTP), key=lambda row: (row.status, row.code))


def _descendants(kind: type[ProblemError]) -> list[type[ProblemError]]:
    return [each for child in kind.__subclasses__() for each in (child, *_descendants(child))]


def _page(template: str, *, csp: str = ONLY_OURS, **values: object) -> Response:
    response = make_response(render_template(template, version=__version__, **values))
    response.headers["Content-Security-Policy"] = csp
    response.headers["Cache-Control"] = "no-cache"
    return response


def _static(name: str) -> Response:
    if name not in SERVED:
        raise NotFound("There is nothing at this address.")
    content_type = CONTENT_TYPES[PurePosixPath(name).suffix]
    response = send_file(STATIC / name, mimetype=content_type, conditional=True)
    response.headers["Cache-Control"] = "no-cache"
    return response
