"""The routes of the acted provider: submits, fetches, server operations, pictures. It decides nothing itself."""

import base64
import hashlib
import io
import time
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Flask, Response, abort, current_app, request, send_file

from webhook_app.emulator import bodies
from webhook_app.emulator.control import control
from webhook_app.emulator.job import Job
from webhook_app.emulator.options import EmulatorOptions
from webhook_app.emulator.painting import black, paint
from webhook_app.emulator.refusals import Refusal
from webhook_app.emulator.studio import Studio
from webhook_app.emulator.submission import check_key, read_submission

LARGEST_BODY = 8 * 2**20
ENTERPRISE = "/api/v1/enterprise/flux"
PUBLIC = "/api/v6/images"
UNKNOWN_ID = {"status": "error", "message": "Request not found"}
OPERATIONS: Mapping[str, dict[str, str]] = {
    "restart_server": {"status": "success", "message": "server restarting"},
    "update_server": {"message": "server updating", "status": "success"},
    "clear_cache": {"status": "success", "message": "Cache cleared successfully"},
    "clear_queue": {"status": "success", "message": "Queue cleared, server is restarting"},
}

provider = Blueprint("provider", __name__)


def create_app(options: EmulatorOptions) -> Flask:
    """A WSGI application with its own studio; two of them share nothing."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY
    app.extensions["studio"] = Studio(options)
    app.register_blueprint(provider)
    app.register_blueprint(control)
    app.register_error_handler(Refusal, _refuse)
    return app


def _studio() -> Studio:
    studio: Studio = current_app.extensions["studio"]
    return studio


def _answer(body: Any, http_status: int = 200) -> Response:
    return Response(bodies.php_json(body), http_status, mimetype="application/json")


def _refuse(refusal: Refusal) -> Response:
    return _answer(*refusal.answer(_studio().options.error_style))


def _body() -> dict[str, Any]:
    """The JSON object that was sent; anything else reads as an empty one, and so lacks its key."""
    body = request.get_json(force=True, silent=True)
    return body if isinstance(body, dict) else {}


def _keyed_body() -> dict[str, Any]:
    body = _body()
    check_key(body, _studio().options.key)
    return body


@provider.post(f"{ENTERPRISE}/text2img")
@provider.post(f"{PUBLIC}/text2img")
def text2img() -> Response:
    return _submit(from_image=False)


@provider.post(f"{ENTERPRISE}/img2img")
@provider.post(f"{PUBLIC}/img2img")
def img2img() -> Response:
    return _submit(from_image=True)


def _submit(*, from_image: bool) -> Response:
    studio, body = _studio(), _body()
    facts = {
        "path": request.path,
        "webhook": body.get("webhook"),
        "body": {name: value for name, value in body.items() if name != "key"},
    }
    family = PUBLIC if request.path.startswith(PUBLIC) else ENTERPRISE
    try:
        check_key(body, studio.options.key)
        asked = read_submission(body, from_image=from_image)
        job = studio.place(asked, base=request.host_url.rstrip("/"), fetch_path=f"{family}/fetch")
    except Refusal as refusal:
        studio.record("submit", None, track_id=body.get("track_id"), refused=str(refusal), **facts)
        raise
    studio.record_accepted(job, facts)
    return _first_answer(studio, job)


def _first_answer(studio: Studio, job: Job) -> Response:
    first = studio.first_answer(job)
    studio.record("answer", job, http_status=200, body=first)
    response = _answer(first)
    response.call_on_close(lambda: studio.answered(job))
    return response


@provider.post(f"{ENTERPRISE}/fetch/<job_id>")
@provider.post(f"{PUBLIC}/fetch/<job_id>")
def fetch(job_id: str) -> Response:
    _keyed_body()
    return _fetch(job_id)


@provider.post(f"{PUBLIC}/fetch")
def fetch_by_body() -> Response:
    return _fetch(str(_keyed_body().get("request_id", "")))


def _fetch(job_id: str) -> Response:
    """An unknown id is HTTP 200 in both styles: no page documents a code for it."""
    studio = _studio()
    number = int(job_id) if job_id.isascii() and job_id.isdigit() and len(job_id) < 20 else 0
    job = studio.find(number)
    body = UNKNOWN_ID if job is None else bodies.fetched(job)
    studio.record("fetch", job, path=request.path, asked=job_id, http_status=200, status=body["status"])
    return _answer(body)


@provider.post(f"{ENTERPRISE}/system_details")
def system_details() -> Response:
    _keyed_body()
    return _answer({"model_count": 0, "queue_time": _studio().backlog_s(), "status": "ok"})


@provider.post(f"{ENTERPRISE}/<any({', '.join(OPERATIONS)}):operation>")
def operate(operation: str) -> Response:
    _keyed_body()
    studio = _studio()
    studio.record("operation", None, path=request.path)
    if operation == "clear_queue":
        studio.clear_queue()
    return _answer(OPERATIONS[operation])


@provider.get("/generations/<name>")
@provider.get("/temp/<name>")
def picture(name: str) -> Response:
    """The bytes; 404 as an HTML page while they are not there, like the object stores of the provider."""
    studio = _studio()
    found = studio.picture(name, request.path)
    if found is None:
        studio.record("picture", None, path=request.path, http_status=404)
        abort(404)
    job, index = found
    started_at = time.perf_counter()
    data = _pixels(job, index)
    digest = hashlib.sha256(data).hexdigest()
    studio.record(
        "picture",
        job,
        path=request.path,
        http_status=200,
        bytes=len(data),
        sha256=digest,
        took_s=round(time.perf_counter() - started_at, 4),
    )
    if job.submission.base64:
        return Response(base64.b64encode(data), mimetype="text/plain")
    return send_file(io.BytesIO(data), mimetype="image/png", etag=digest[:32], conditional=True)


def _pixels(job: Job, index: int) -> bytes:
    asked = job.submission
    if asked.flagged:
        return black(asked.width, asked.height)
    source = "" if asked.init_image is None else f"{asked.init_image} {asked.strength}"
    return paint(asked.prompt, job.seed, asked.width, asked.height, index, source)
