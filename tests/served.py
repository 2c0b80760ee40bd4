"""The web application behind a real socket, for whoever talks to a server from outside."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from flask import Flask
from werkzeug.serving import make_server

from tests.web.conftest import Api, app, key_for, parts
from webhook_app.domain.job import Scope
from webhook_app.wiring import Parts

__all__ = ["Served", "app", "parts", "serve", "served"]


@dataclass
class Served:
    """A server's address, a client's key, and hands behind its doors."""

    url: str
    key: str
    api: Api


@contextmanager
def serve(app: Flask, parts: Parts) -> Iterator[Served]:
    """The application at a free port for the length of a block."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    key = key_for(parts, "acme", Scope.SUBMIT, Scope.READ)
    try:
        yield Served(f"http://127.0.0.1:{server.server_port}", key, Api(app.test_client(), parts, key, "acme"))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def served(app: Flask, parts: Parts) -> Iterator[Served]:
    with serve(app, parts) as made:
        yield made
