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
        click.echo(json.dumps(result, default=_plain, ensure_ascii=False))
    elif text:
        click.echo(text)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns under a head."""
    widths = [max(len(row[n]) for row in [head, *rows]) for n in range(len(head))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *rows])
    return "\n".join(line.rstrip() for line in lines)


def _plain(value: Any) -> str:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else str(value)
