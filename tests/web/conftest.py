"""A whole web application over a real database, and clients of it with different keys."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import insert, update
from werkzeug.test import TestResponse

from webhook_app.domain.job import Scope
from webhook_app.flows.keys import create_key
from webhook_app.settings import load_settings
from webhook_app.store.engine import Store
from webhook_app.store.tables import Base, Image, Job
from webhook_app.web.app import create_app
from webhook_app.wiring import Parts, build

BOOTSTRAP_KEY = "bootstrap-key-for-tests-only"
NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


@dataclass
class Api:
    """Calls with one API key, and the ways of the world behind the API's back."""

    http: FlaskClient
    parts: Parts
    key: str
    client: str = ""

    def call(self, method: str, path: str, **arguments: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {self.key}"} | arguments.pop("headers", {})
        return self.http.open(path, method=method, headers=headers, **arguments)

    def get(self, path: str, **arguments: Any) -> TestResponse:
        return self.call("GET", path, **arguments)

    def post(self, path: str, body: Any = None, **arguments: Any) -> TestResponse:
        return self.call("POST", path, json=body, **arguments)

    def delete(self, path: str) -> TestResponse:
        return self.call("DELETE", path)

    def submit(self, prompt: str = "a lighthouse", **members: Any) -> str:
        """The track_id of a new job; members of `input` are given as `input`."""
        asked = {"input": {"prompt": prompt} | members.pop("input", {})} | members
        response = self.post("/v1/jobs", asked)
        assert response.status_code == 202, response.text
        track_id: str = response.json["track_id"]
        return track_id

    def change_job(self, track_id: str, **values: Any) -> None:
        """Change a job's row as a flow would: the version rises."""
        with self.parts.store.writing() as connection:
            statement = update(Job).where(Job.track_id == track_id)
            connection.execute(statement.values(version=Job.version + 1, **values))

    def change_images(self, track_id: str, **values: Any) -> None:
        with self.parts.store.writing() as connection:
            connection.execute(update(Image).where(Image.track_id == track_id).values(**values))

    def add(self, table: type[Base], **values: Any) -> None:
        with self.parts.store.writing() as connection:
            connection.execute(insert(table).values(**values))


@pytest.fixture
def parts(store: Store, tmp_path: Path) -> Parts:
    settings = load_settings({"DATA_DIR": str(tmp_path), "BOOTSTRAP_API_KEY": BOOTSTRAP_KEY, "WAIT_MAX_S": "5"})
    return replace(build(settings), store=store)


@pytest.fixture
def app(parts: Parts) -> Iterator[Flask]:
    made = create_app(parts)
    yield made
    made.extensions["wakeups"].stop()


@pytest.fixture
def admin(app: Flask, parts: Parts) -> Api:
    return Api(app.test_client(), parts, BOOTSTRAP_KEY)


def key_for(parts: Parts, client: str, *scopes: Scope) -> str:
    """A new API key of this client."""
    return create_key(parts.store, client=client, name="test", scopes=scopes, now=NOW)[1]


@pytest.fixture
def api(app: Flask, parts: Parts) -> Api:
    key = key_for(parts, "acme", Scope.SUBMIT, Scope.READ)
    return Api(app.test_client(), parts, key, "acme")


@pytest.fixture
def stranger(app: Flask, parts: Parts) -> Api:
    return Api(app.test_client(), parts, key_for(parts, "other", Scope.SUBMIT, Scope.READ), "other")
