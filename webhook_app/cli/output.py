"""What goes to stdout (results, as text or JSON) and what to stderr (talk)."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

output_option = click.option(
    "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How results are written."
)


def say(line: str = "") -> None:
    """Talk: progress and advice, on stderr."""
    click.echo(line, err=True)


def emit(output: str, result: Any, text: str) -> None:
    """The result on stdout: the value as one JSON document, or the text."""
    if output == "json":
        click.echo(_json(result))
    elif text:
        click.echo(text)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns under a head."""
    widths = [max(len(row[n]) for row in [head, *rows]) for n in range(len(head))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *rows])
    return "\n".join(line.rstrip() for line in lines)


def _plain(value: Any) -> str:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else str(value)


class Report:
    """A result that grows: with JSON one document, whose list `name` is written as its items come; else a line for each
    under a head. Nothing is kept. The last column may have any width."""

    def __init__(self, output: str, name: str, columns: Sequence[tuple[str, int]] = ()) -> None:
        self._is_json, self._name, self._columns = output == "json", name, columns
        self._begun = False

    def add(self, item: dict[str, Any], cells: Sequence[str] | None) -> None:
        """One more: as JSON, or as the cells of its line, if it has one."""
        if self._is_json:
            click.echo(f"{', ' if self._begun else self._opening}{_json(item)}", nl=False)
        elif cells is not None:
            if not self._begun and self._columns:
                self._write([name for name, _ in self._columns])
            self._write(cells)
        self._begun = True

    def end(self, rest: dict[str, Any], text: str) -> None:
        """What is known at the end: further members of the document, or text."""
        if self._is_json:
            click.echo(f"{'' if self._begun else self._opening}], {_json(rest)[1:]}")
        elif text:
            click.echo(text)

    @property
    def _opening(self) -> str:
        return f"{{{_json(self._name)}: ["

    def _write(self, cells: Sequence[str]) -> None:
        widths = [width for _, width in self._columns] or [0] * len(cells)
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())


def _json(value: Any) -> str:
    return json.dumps(value, default=_plain, ensure_ascii=False)
