"""Results on stdout, talk on stderr, and the promised exit codes."""

from pathlib import Path

import pytest

from tests.cli.conftest import Run, as_json
from webhook_app import __version__


@pytest.fixture
def ready(run: Run) -> Run:
    assert run("db", "upgrade").exit_code == 0
    return run


def test_version_needs_no_settings(run: Run):
    assert run("version", PORT="nonsense").stdout == f"webhook-app {__version__}\n"
    assert as_json(run("version", "--output", "json"))["version"] == __version__


def test_every_verb_of_the_contract_explains_itself(run: Run):
    for words in (
        ["demo"], ["serve"], ["web"], ["worker"], ["emulator"], ["doctor"], ["version"],
        ["db", "upgrade"], ["db", "downgrade"], ["db", "current"], ["db", "check"],
        ["keys", "create"], ["keys", "list"], ["keys", "revoke"],
        ["callbacks", "list"], ["callbacks", "show"], ["callbacks", "replay"],
        ["providers", "list"], ["providers", "pause"], ["providers", "resume"],
        ["archive", "verify"], ["archive", "gc"], ["archive", "export"],
        ["submit"], ["wait"], ["jobs", "list"], ["jobs", "get"], ["jobs", "resolve"],
    ):  # fmt: skip
        result = run(*words, "--help")
        assert result.exit_code == 0, words
        assert result.stdout.startswith("Usage: webhook-app")


def test_an_unusable_variable_ends_with_one_line_that_names_it(run: Run):
    result = run("db", "upgrade", PORT="nonsense")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: PORT: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words", [["web"], ["worker"], ["keys", "list"], ["keys", "create", "--client", "x"], ["db", "check"],
              ["db", "current"], ["db", "downgrade", "base"], ["callbacks", "list"], ["callbacks", "show", "cb_x"],
              ["callbacks", "replay", "cb_x"], ["providers", "list"], ["providers", "resume", "modelslab"],
              ["archive", "verify"], ["archive", "gc"], ["archive", "export", "out"],
              ["retention", "plan", "--days", "1"]]
)  # fmt: skip
def test_verbs_that_make_no_database_end_with_3_and_the_path_that_they_looked_for(
    run: Run, tmp_path: Path, words: list[str]
):
    result = run(*words)
    assert result.exit_code == 3
    assert str(tmp_path / "data" / "webhook-app.db") in result.stderr
    assert not (tmp_path / "data").exists()


def test_upgrade_makes_the_database_and_says_where_it_stands(run: Run):
    told = as_json(run("db", "upgrade", "--output", "json"))
    assert told["revision"] == told["head"]
    assert run("db", "current").stdout.strip() == told["head"]
    checked = run("db", "check")
    assert (checked.exit_code, checked.stderr) == (0, f"the database fits, at {told['head']}\n")


def test_a_database_behind_the_code_is_refused(ready: Run):
    assert ready("db", "downgrade", "base").exit_code == 0
    for words in (["db", "check"], ["keys", "list"], ["worker"], ["web"]):
        result = ready(*words)
        assert result.exit_code == 1, (words, result.output)
        assert "db upgrade" in result.stderr


def test_a_key_is_shown_once_listed_without_its_secret_and_revoked(ready: Run):
    made = ready("keys", "create", "--client", "shop", "--name", "web shop", "--scope", "submit")
    assert made.exit_code == 0
    secret = made.stdout.strip()
    assert secret.startswith("wapp_")
    assert secret not in made.stderr
    listed = as_json(ready("keys", "list", "--output", "json"))["data"]
    assert [(key["client"], key["name"], key["scopes"]) for key in listed] == [("shop", "web shop", ["submit"])]
    assert secret not in str(listed)
    key_id = listed[0]["key_id"]
    assert key_id in ready("keys", "list").stdout
    assert ready("keys", "revoke", key_id).exit_code == 0
    assert as_json(ready("keys", "list", "--output", "json"))["data"][0]["revoked_at"] is not None


def test_a_key_may_submit_and_read_unless_said_otherwise(ready: Run):
    told = as_json(ready("keys", "create", "--client", "shop", "--output", "json"))
    assert told["scopes"] == ["submit", "read"]
    assert told["key"].startswith("wapp_")


def test_a_key_that_the_client_has_already_is_registered_and_not_repeated(ready: Run):
    given = "the-key-of-an-old-client"
    made = ready("keys", "create", "--client", "old", "--from-stdin", stdin=given + "\n")
    assert made.exit_code == 0
    assert given not in made.output
    assert ready("keys", "create", "--client", "old", "--from-stdin", stdin=given).exit_code == 2
    assert ready("keys", "create", "--client", "old", "--from-stdin", stdin="short").exit_code == 2
    assert ready("keys", "create", "--client", "old", "--from-stdin", stdin="").exit_code == 2


def test_revoking_an_unknown_key_ends_with_3(ready: Run):
    assert ready("keys", "revoke", "key_unknown").exit_code == 3


def test_keys_that_fill_more_than_a_page_are_all_listed(ready: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("webhook_app.cli.keys.PAGE", 2)
    for n in range(5):
        assert ready("keys", "create", "--client", f"client {n}").exit_code == 0
    assert len(as_json(ready("keys", "list", "--output", "json"))["data"]) == 5


def test_a_verb_says_why_the_database_does_not_answer(run: Run):
    result = run("keys", "list", DATABASE_URL="postgresql://anna:hunter2@127.0.0.1:1/pictures", SECRET_KEY="s" * 32)
    assert result.exit_code == 1
    assert "127.0.0.1" in result.stderr
    assert result.stderr.count("\n") == 1
    assert "hunter2" not in result.stderr
