"""Run a verb as a shell would, in a folder of its own, with nothing of the machine's environment."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click.testing
import pytest

from webhook_app.cli import main
from webhook_app.settings import VARIABLES

Run = Callable[..., click.testing.Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def run_verb(*words: str, stdin: str | None = None, **variables: str) -> click.testing.Result:
        env: dict[str, str | None] = {"DATA_DIR": str(tmp_path / "data"), **variables}
        return click.testing.CliRunner().invoke(main, words, input=stdin, env=env, prog_name="webhook-app")

    return run_verb


def as_json(result: click.testing.Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)
