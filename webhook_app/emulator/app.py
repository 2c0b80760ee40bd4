"""The routes of the acted provider: submits, fetches, deletions, operations, pictures. It decides nothing itself."""

import threading
from collections.abc import Mapping
from functools import partial
from typing import Any

from flask import Blueprint, Flask, Response, current_app, request

from webhook_app.emulator import bodies, pages, wire
from webhook_app.emulator.control import control
from webhook_app.emulator.fetching import UNKNOWN_ID, answer_to_fetch
from webhook_app.emulator.gallery import serve_picture
from webhook_app.emulator.job import Job
from webhook_app.emulator.options import EmulatorOptions
from webhook_app.emulator.refusals import Refusal
from webhook_app.emulator.studio import Studio
from webhook_app.emulator.submission import check_key, read_submission
from webhook_app.emulator.words import PictureFault

LARGEST_BODY = 8 * 2**20
ENTERPRISE = "/api/v1/enterprise/flux"
PUBLIC = "/api/v6/images"
DELETE_IMAGE = "/api/v3/delete_image"
OPERATIONS: Mapping[str, dict[str, str]] = {
    "restart_server": {"status": "success", "message": "server restarting"},
    "update_server": {"message": "server updating", "status": "success"},
    "clear_cache": {"status": "success", "message": "Cache cleared successfully"},
    "clear_queue": {"status": "success", "message": "Queue cleared, server is restarting"},
}

provider = Blueprint("provider", __name__)


def create_app(options: EmulatorOptions, stopping: threading.Event) -> Flask:
    """A WSGI application with its own studio; two of them share nothing. `stopping` ends the requests that it holds."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY
    app.extensions["studio"] = Studio(options, stopping)
    app.register_blueprint(provider)
    app.register_blueprint(control)
    app.register_error_handler(Refusal, _refuse)
    return app


def _studio() -> Studio:
    studio: Studio = current_app.extensions["studio"]
    return studio


def _answer(body: dict[str, Any] | str, http_status: int = 200) -> Response:
    if isinstance(body, str):
        return Response(body, http_status, mimetype="text/html")
    return Response(bodies.php_json(body), http_status, mimetype="application/json")


def _refuse(refusal: Refusal) -> Response:
    body, http_status, headers = refusal.answer(_studio().options.error_style)
    if body is None or http_status is None:
        return wire.reset_answer()
    response = _answer(body, http_status)
    response.headers.update(headers)
    return response


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
    """Leaves one `submit` and one `answer` in the ledger. The body is read whatever will happen: the fate is in it."""
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
        _record_refused(studio, refusal, track_id=body.get("track_id"), facts=facts)
        raise
    studio.record_accepted(job, facts)
    return _first_answer(studio, job)


def _record_refused(studio: Studio, refusal: Refusal, *, track_id: object, facts: dict[str, Any]) -> None:
    verdict = {"taken": False, "refused": refusal.text, "fault": refusal.fault}
    studio.record("submit", None, track_id=track_id, **verdict, **facts)
    given, http_status, _ = refusal.answer(studio.options.error_style)
    aborted = refusal.fault if given is None else None
    studio.record("answer", None, track_id=track_id, http_status=http_status, aborted=aborted, body=given)


def _first_answer(studio: Studio, job: Job) -> Response:
    first, fault = studio.first_answer(job), job.fate.submit_fault
    studio.record("answer", job, **wire.told(fault, first))
    response = wire.spoilt(bodies.php_json(first), fault, partial(studio.hold, job), studio.options)
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
    studio = _studio()
    job = studio.find(_number_of(job_id))
    body, http_status = answer_to_fetch(job, another=studio.another, style=studio.options.error_style)
    status = body["status"] if isinstance(body, dict) else None
    studio.record("fetch", job, path=request.path, asked=job_id, http_status=http_status, status=status)
    return _answer(body, http_status)


def _number_of(job_id: str) -> int:
    """0, which no job has, for what is no number."""
    return int(job_id) if job_id.isascii() and job_id.isdigit() and len(job_id) < 20 else 0


@provider.post(DELETE_IMAGE)
def delete_image() -> Response:
    """Removes the pictures of a job that is done; again it is not found."""
    asked = str(_keyed_body().get("request_id", ""))
    studio = _studio()
    job = studio.find(_number_of(asked))
    deleted = job is not None and studio.delete(job)
    studio.record("delete", job, path=request.path, asked=asked, deleted=deleted)
    return _answer({"status": "success", "messege": "image deleted"} if deleted else UNKNOWN_ID)


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
    job, index, fault = studio.picture(name, request.path)
    if job is None or fault is not PictureFault.NONE:
        response = _no_picture(fault)
        studio.record("picture", job, path=request.path, http_status=response.status_code, fault=fault)
        return response
    return serve_picture(studio, job, index)


def _no_picture(fault: PictureFault) -> Response:
    """What an object store says in a picture's place."""
    match fault:
        case PictureFault.HTML:
            return Response(pages.NO_PICTURE, 200, mimetype="text/html")
        case PictureFault.FORBIDDEN:
            return Response(pages.ACCESS_DENIED, 403, mimetype="application/xml")
        case _:
            return Response(pages.NO_PICTURE, 404, mimetype="text/html")
