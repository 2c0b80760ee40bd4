"""Guards of the house: how the code is cut and what the documents promise. Each can fail, and says where to look."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from webhook_app import settings

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
SOURCES = sorted(path for room in ("webhook_app", "migrations", "tests") for path in (ROOT / room).rglob("*.py"))
LONGEST_FILE = 400
LONGEST_FUNCTION = 40
# Whoever waits must hear of every error here; elsewhere a broad `except` hides a bug.
MAY_CATCH_ALL = {"worker/loop.py", "web/batcher.py", "web/errors.py"}
# settings.py reads the environment. These hand it on to a child process, or take out what was meant for this one alone;
# signing.py looks for the bucket's keys where obstore finds them.
MAY_SEE_THE_ENVIRONMENT = {
    "settings.py",
    "cli/demo.py",
    "cli/serve.py",
    "cli/server.py",
    "cli/supervise.py",
    "pictures/children.py",
    "storage/signing.py",
}
MIGRATION = re.compile(r"(\d{4})_[a-z]+(_[a-z]+)+\.py")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def in_the_house() -> Iterator[tuple[str, ast.Module]]:
    """Every module of the package, by its place in it."""
    for path in SOURCES:
        if path.is_relative_to(ROOT / "webhook_app"):
            yield path.relative_to(ROOT / "webhook_app").as_posix(), tree_of(path)


def test_imports_point_down() -> None:
    checker = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([checker, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_no_file_is_long() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def own_length(function: ast.FunctionDef) -> int:
    """Lines of a function without those of the functions in it: a module's routes are all defined in `register`."""
    inner = [node for node in ast.walk(function) if isinstance(node, ast.FunctionDef) and node is not function]
    lines = set(range(function.lineno, (function.end_lineno or 0) + 1))
    return len(lines - {line for node in inner for line in range(node.lineno, (node.end_lineno or 0) + 1)})


def test_no_function_is_long() -> None:
    """Migrations apart: there a long function is a table with many columns."""
    long = {
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path in SOURCES
        if not path.is_relative_to(ROOT / "migrations")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef) and own_length(node) > LONGEST_FUNCTION
    }
    assert long == set()


def test_every_file_says_first_what_lives_there() -> None:
    silent = {name_of(path) for path in SOURCES if path.read_text().strip() and not ast.get_docstring(tree_of(path))}
    assert silent == set()


def test_only_three_files_catch_everything() -> None:
    def catches_all(handler: ast.ExceptHandler) -> bool:
        names = {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)} if handler.type else {""}
        passes_on = isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None
        return bool(names & {"", "Exception", "BaseException"}) and not passes_on

    found = {
        place
        for place, tree in in_the_house()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and catches_all(node)
    }
    assert found <= MAY_CATCH_ALL


def is_of_request(node: ast.Attribute) -> bool:
    """WSGI has the same word for what a server tells of a request."""
    return isinstance(node.value, ast.Name) and node.value.id == "request"


def test_the_environment_is_read_in_one_place() -> None:
    found = {
        place
        for place, tree in in_the_house()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"} and not is_of_request(node)
    }
    assert found == MAY_SEE_THE_ENVIRONMENT


def test_every_setting_is_in_the_readme_and_nothing_else() -> None:
    table = README.partition("<!-- settings -->")[2].partition("\n\n")[0]
    documented = [name for row in table.splitlines()[3:] for name in re.findall(r"`([A-Z_]+)`", row.split("|")[1])]
    assert sorted(documented) == sorted(settings.VARIABLES)


def test_migrations_are_numbered_and_know_nothing_of_the_app() -> None:
    paths = sorted((ROOT / "migrations" / "versions").glob("*.py"))
    matches = [MIGRATION.fullmatch(path.name) for path in paths]
    assert [match and int(match[1]) for match in matches] == list(range(1, len(paths) + 1))
    for path in paths:
        assert "webhook_app" not in path.read_text(), path.name


@pytest.mark.parametrize("command", ["demo-command", "test-command"])
def test_the_readme_has_its_two_commands(command: str) -> None:
    block = README.partition(f"<!-- {command} -->\n```sh\n")[2].partition("```")[0]
    assert len(block.strip().splitlines()) == 1
