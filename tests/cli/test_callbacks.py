"""`callbacks`: what was received, seen and replayed from the server's shell, on both databases."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import click.testing
import orjson
import pytest
from sqlalchemy import insert, update

from tests.cli.conftest import Run, as_json
from tests.store import rows
from webhook_app.domain.ids import new_id
from webhook_app.store.engine import Store
from webhook_app.store.keys import ensure_client
from webhook_app.store.tables import Attempt, Callback, Image, Job

RESULT = {"status": "success", "id": 7, "output": ["https://pub-3626123a908346a7a8be8d9295f44e26.r2.dev/0.png"]}
Verb = Callable[..., click.testing.Result]


@pytest.fixture
def verb(run: Run, database_url: str) -> Verb:
    return lambda *words: run("callbacks", *words, DATABASE_URL=database_url, SECRET_KEY="s" * 32)


def keep(store: Store, **more: Any) -> str:
    """A job at the provider and a callback of it that could not be read; returns the callback's id."""
    with store.writing() as connection:
        client_id = ensure_client(connection, client_id=new_id("cli"), name="acme", now=rows.NOW)
        job = rows.job(client_id, status="processing", attempt=1, spent=1)
        connection.execute(insert(Job.__table__).values(job))
        connection.execute(insert(Attempt).values(rows.attempt(job["track_id"], evidence="running")))
        connection.execute(insert(Image).values(rows.image(job["track_id"])))
        body = {"body": orjson.dumps(RESULT), "verdict": "unreadable", "applied_at": rows.NOW, "problem": "no"}
        row = rows.callback(job["track_id"]) | body | more
        connection.execute(insert(Callback).values(row))
    return str(row["callback_id"])


def test_callbacks_are_listed_newest_first_and_by_filters(verb: Verb, store: Store):
    old = keep(store)
    new = keep(store, verdict="orphaned", received_at=rows.NOW + timedelta(days=1), sha256="cd" * 32)

    def listed(*filters: str) -> list[str]:
        return [row["callback_id"] for row in as_json(verb("list", *filters, "--output", "json"))["data"]]

    assert listed() == [new, old]
    assert listed("--orphaned") == listed("--verdict", "orphaned") == listed("--received-after", "2026-03-02") == [new]
    assert listed("--received-before", "2026-03-02T00:00:00Z") == [old]
    assert listed("--verdict", "late", "--verdict", "unreadable") == [old]
    text = verb("list", "--limit", "1")
    assert new in text.stdout
    assert old not in text.stdout
    assert "more than 1" in text.stderr
    assert verb("list", "--track-id", "x").exit_code == verb("list", "--verdict", "x").exit_code == 2


def test_a_callback_is_shown_with_its_body_alone_on_stdout(verb: Verb, store: Store):
    callback_id = keep(store)
    shown = verb("show", callback_id)
    assert orjson.loads(shown.stdout) == RESULT
    assert "verdict: unreadable" in shown.stderr
    assert as_json(verb("show", callback_id, "--output", "json"))["body_encoding"] == "utf-8"
    assert verb("show", new_id("cb")).exit_code == 3


def test_a_dry_run_prints_what_a_replay_then_changes(verb: Verb, store: Store):
    callback_id = keep(store)
    tried = as_json(verb("replay", callback_id, "--dry-run", "--output", "json"))
    assert tried["job"]["status"] == {"before": "processing", "after": "succeeded"}
    done = verb("replay", callback_id)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert {"verdict: unreadable -> applied", "status: processing -> succeeded", "event job.succeeded: 1"} <= set(lines)
    assert verb("replay", callback_id).stdout == "nothing changed: applied\n"


def test_what_is_erased_ends_with_5_and_what_is_unknown_with_3(verb: Verb, store: Store):
    callback_id = keep(store)
    with store.writing() as connection:
        connection.execute(update(Callback).values(body=None))
    for more in ([], ["--dry-run"]):
        assert verb("replay", callback_id, *more).exit_code == 5
        assert verb("replay", new_id("cb"), *more).exit_code == 3
