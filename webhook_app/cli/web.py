"""`web`: the HTTP door. Checks, and then becomes the server."""

import os
import sys

import click

from webhook_app.cli.exits import explained
from webhook_app.cli.output import output_option, say
from webhook_app.cli.serve import SERVER
from webhook_app.cli.start import database_exists, database_fits, settings_and_logs
from webhook_app.domain.errors import DatabaseUnavailable


@click.command()
@output_option
def web(output: str) -> None:
    """Answer HTTP: jobs, callbacks, pictures.

    Starts with PostgreSQL down, too: callbacks are kept in the spool, other requests are answered 503 until it is back.
    """
    settings = settings_and_logs()
    database_exists(settings)
    try:
        database_fits(settings)
    except DatabaseUnavailable as error:
        say(f"warning: {explained(error)}; starting without it")
    # A new process image, as gevent wants to come first; the process id stays, for whoever supervises it.
    os.execv(sys.executable, [sys.executable, "-m", SERVER])  # noqa: S606 - our own interpreter
