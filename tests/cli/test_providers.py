"""`providers`: the switches from the server's shell, on both databases."""

from collections.abc import Callable

import click.testing
import pytest

from tests.cli.conftest import Run, as_json

Verb = Callable[..., click.testing.Result]


@pytest.fixture
def verb(run: Run, database_url: str) -> Verb:
    return lambda *words: run("providers", *words, DATABASE_URL=database_url, SECRET_KEY="s" * 32)


def test_a_provider_is_paused_and_resumed(verb: Verb):
    assert "0 of 5" in verb("list").stdout
    paused = as_json(verb("pause", "modelslab", "--reason", "maintenance", "--output", "json"))["paused"]
    assert (paused["reason"], paused["by"], paused["paused_until"]) == ("maintenance", "operator", None)
    assert "until it is resumed: maintenance (by operator)" in verb("list").stdout
    assert as_json(verb("list", "--output", "json"))["data"][0]["paused"] == paused
    assert verb("resume", "modelslab").stdout == verb("resume", "modelslab").stdout == "modelslab: not paused\n"


def test_a_pause_may_have_an_end_which_lies_in_the_future(verb: Verb):
    assert verb("pause", "modelslab", "--until", "2020-01-01").exit_code == 2
    assert verb("pause", "modelslab", "--reason", " ").exit_code == 2
    assert "until 2099-01-01T00:00:00Z: by_hand" in verb("pause", "modelslab", "--until", "2099-01-01").stdout


def test_an_unknown_provider_ends_with_3(verb: Verb):
    assert verb("pause", "other").exit_code == verb("resume", "other").exit_code == 3
