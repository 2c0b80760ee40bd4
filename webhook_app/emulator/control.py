"""The emulator's own routes below /_emulator: ledger, options, a fresh start. The real provider has none of them."""

from typing import Any

from flask import Blueprint, Response, current_app, jsonify, request

from webhook_app.emulator.options import OptionError, shown
from webhook_app.emulator.studio import Studio

control = Blueprint("control", __name__, url_prefix="/_emulator")


def _studio() -> Studio:
    studio: Studio = current_app.extensions["studio"]
    return studio


@control.get("/ledger")
def ledger() -> Response:
    """Everything got and given, oldest first; `?kind=`, `?track_id=` and `?after=SEQ` narrow."""
    text = _studio().ledger.as_json(
        kind=request.args.get("kind"),
        track_id=request.args.get("track_id"),
        after=request.args.get("after", 0, type=int),
    )
    return Response(text, mimetype="application/json")


@control.delete("/ledger")
def clear_ledger() -> tuple[str, int]:
    _studio().ledger.clear()
    return "", 204


@control.post("/reset")
def reset() -> tuple[str, int]:
    """Forget jobs, repeat counts and ledger; options stay."""
    _studio().reset()
    return "", 204


@control.get("/config")
def config() -> Response:
    return jsonify(shown(_studio().options))


@control.post("/config")
def configure() -> Response | tuple[Response, int]:
    """Change the named options for jobs that come from now on; answers all of them."""
    changes: Any = request.get_json(force=True, silent=True)
    if not isinstance(changes, dict):
        return jsonify(error="the body must be a JSON object of options"), 400
    try:
        _studio().reconfigure(changes)
    except OptionError as error:
        return jsonify(error=str(error)), 400
    return config()
