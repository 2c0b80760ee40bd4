"""`audit` from the server's shell, on both databases: reports and exit codes."""

import json
from collections.abc import Callable
from pathlib import Path

import click.testing
import pytest
from sqlalchemy import update

from tests.cli.conftest import Run, as_json
from tests.flows.test_anchor import tell
from tests.flows.test_audit import tamper
from tests.flows.world import World
from webhook_app.flows import anchor
from webhook_app.settings import load_settings
from webhook_app.signing.ed25519 import Ed25519Signer
from webhook_app.storage.local import LocalStorage
from webhook_app.store.engine import Store
from webhook_app.store.tables import EventRow
from webhook_app.wiring import signer_of

SECRET = "s" * 32
Verb = Callable[..., click.testing.Result]


@pytest.fixture
def verb(run: Run, database_url: str) -> Verb:
    return lambda *words, **env: run("audit", *words, DATABASE_URL=database_url, SECRET_KEY=SECRET, **env)


@pytest.fixture
def world(store: Store, tmp_path: Path) -> World:
    """Three events and then two, each with a head in the archive."""
    made = World(store)
    signer = signer_of(load_settings({"SECRET_KEY": SECRET}))
    for count in (3, 2):
        tell(made, count)
        anchor.sign(store, signer, now=made.at)
        made.later(minutes=1)
    anchor.archive(store, LocalStorage(tmp_path / "data" / "archive"), limit=9, now=made.at)
    return made


def test_a_log_that_is_whole_is_said_to_be(verb: Verb, world: World) -> None:
    told = as_json(verb("verify", "--output", "json"))
    assert (told["ok"], told["events"], told["last_seq"], told["problems"]) == (True, 5, 5, [])
    assert told["heads"] == {"archive": 2, "database": 2}
    shown = verb("verify")
    assert (shown.exit_code, "events: 5" in shown.stdout) == (0, True)
    assert as_json(verb("verify", "--no-archive", "--output", "json"))["heads"] == {"database": 2}


def test_a_log_that_was_changed_ends_with_1_and_names_the_first_bad_seq(verb: Verb, world: World) -> None:
    tamper(world, update(EventRow).where(EventRow.seq >= 4).values(actor="somebody"))
    result = verb("verify", "--output", "json")
    assert (result.exit_code, json.loads(result.stdout)["first_bad_seq"]) == (1, 4)
    assert "the first bad seq is 4" in result.stderr
    assert "not the one that was sealed" in verb("verify").stdout


def test_an_export_is_verified_anywhere(verb: Verb, run: Run, world: World, tmp_path: Path) -> None:
    assert verb("export", "log.jsonl").exit_code == 0
    told = as_json(run("audit", "verify", "log.jsonl", "--output", "json"))
    assert (told["ok"], told["events"], told["heads"]) == (True, 5, {"export": 2})
    whole = (tmp_path / "log.jsonl").read_bytes()
    assert verb("export", "-").stdout_bytes.splitlines()[1:] == whole.splitlines()[1:]
    (tmp_path / "log.jsonl").write_bytes(whole.replace(b'"operator"', b'"somebody"', 1))
    assert run("audit", "verify", "log.jsonl").exit_code == 1
    (tmp_path / "log.jsonl").write_bytes(whole[:-40])
    broken = run("audit", "verify", "log.jsonl")
    assert (broken.exit_code, "is not a line of an export" in broken.stderr) == (1, True)
    assert [path.name for path in tmp_path.glob(".log*")] == []


def test_only_the_keys_that_somebody_kept_are_believed(verb: Verb, world: World, tmp_path: Path) -> None:
    kept = tmp_path / "jwks.json"
    signer = signer_of(load_settings({"SECRET_KEY": SECRET}))
    kept.write_text(json.dumps({"keys": [signer.public_key.jwk]}))
    assert verb("verify", "--jwks", str(kept)).exit_code == 0
    kept.write_text(json.dumps({"keys": [Ed25519Signer(b"\1" * 32).public_key.jwk]}))
    result = verb("verify", "--jwks", str(kept))
    assert (result.exit_code, "unknown key" in result.stdout) == (1, True)
    kept.write_text(json.dumps({"keys": []}))
    assert verb("verify", "--jwks", str(kept)).exit_code == 1
    kept.write_text("[]")
    assert verb("verify", "--jwks", str(kept)).exit_code == 2


def test_without_a_database_or_a_file_it_ends_with_3_or_2(run: Run) -> None:
    assert run("audit", "verify").exit_code == 3
    assert run("audit", "verify", "nothing.jsonl").exit_code == 2
