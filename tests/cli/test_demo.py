"""`demo --once`, as a new user runs it: twice in the same folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from webhook_app.settings import VARIABLES

PATIENCE_S = 110


def demo(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path.cwd()), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "webhook_app", "demo", *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


def test_a_demo_makes_a_picture_and_prints_exactly_three_lines_and_again(tmp_path: Path):
    folder = tmp_path / "webhook-app-demo"
    pictures = set()
    for words in ([], ["a lighthouse at dawn"]):
        done = demo(tmp_path, "--once", *words)
        assert done.returncode == 0, done.stderr
        lines = dict(line.split(" ", 1) for line in done.stdout.splitlines())
        assert list(lines) == ["picture", "status", "page"]
        picture = Path(lines["picture"])
        assert picture.parent == folder / "pictures"
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.stem.removesuffix("-0") == lines["status"].rpartition("/")[2]
        for word in ("queued", "submitted", "callback", "archived"):
            assert word in done.stderr
        assert (folder / "api-key").read_text().strip() not in done.stdout + done.stderr
        pictures.add(picture)
    assert len(pictures) == 2


def test_a_demo_that_is_not_in_time_ends_with_7(tmp_path: Path):
    done = demo(tmp_path, "--once", "--timeout", "0.01")
    assert done.returncode == 7
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["--timeout", "soon"], ["one", "two"]])
def test_a_demo_that_is_asked_wrongly_ends_with_2(tmp_path: Path, words: list[str]):
    assert demo(tmp_path, *words).returncode == 2
    assert list(tmp_path.iterdir()) == []
