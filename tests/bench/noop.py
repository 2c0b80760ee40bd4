"""The floor: Flask routes that read their body and do nothing, under the same server as ours."""

from flask import Flask, Response, request

app = Flask(__name__)


@app.post("/callbacks/<path:_rest>")
def ignore(_rest: str) -> Response:
    request.get_data()
    return Response('{"status":"ok"}', mimetype="application/json")


@app.post("/v1/jobs")
def ignore_job() -> Response:
    request.get_data()
    return Response('{"status":"queued"}', status=202, mimetype="application/json")


@app.get("/v1/jobs/<_track_id>")
def nothing_known(_track_id: str) -> Response:
    return Response('{"status":"ok"}', mimetype="application/json")


@app.get("/healthz")
def alive() -> Response:
    return Response('{"status":"ok"}', mimetype="application/json")
