"""The floor: a Flask route that reads its body and does nothing, under the same server as ours."""

from flask import Flask, Response, request

app = Flask(__name__)


@app.post("/callbacks/<path:_rest>")
def ignore(_rest: str) -> Response:
    request.get_data()
    return Response('{"status":"ok"}', mimetype="application/json")


@app.get("/healthz")
def alive() -> Response:
    return Response('{"status":"ok"}', mimetype="application/json")
