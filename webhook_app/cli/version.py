"""`version`: which program this is, and on what it runs."""

import platform

import click

from webhook_app import __version__
from webhook_app.cli.output import emit, output_option


@click.command()
@output_option
def version(output: str) -> None:
    """Print the version of the program (and, as JSON, of Python and SQLite)."""
    result = {"name": "webhook-app", "version": __version__}
    if output == "json":
        from webhook_app.store.engine import sqlite_module

        result |= {"python": platform.python_version(), "sqlite": sqlite_module().sqlite_version}
    emit(output, result, f"webhook-app {__version__}")
