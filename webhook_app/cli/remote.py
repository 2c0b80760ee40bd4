"""What the verbs that talk to a server have in common: where it is, the key, and what becomes of its errors."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from webhook_app.cli.exits import BY_STATUS, Exit, Stop

DEFAULT_URL = "http://127.0.0.1:8000"


def talks_to_a_server(command: Callable[..., None]) -> Callable[..., None]:
    """Adds `--url` and `--api-key`, and calls the command with a `client`. Its errors end with a line and a code."""

    @click.option("--url", envvar="WEBHOOK_APP_URL", default=DEFAULT_URL, show_default=True, show_envvar=True)
    @click.option("--api-key", envvar="WEBHOOK_APP_API_KEY", show_envvar=True)
    @wraps(command)
    def connected(url: str, api_key: str | None, **arguments: Any) -> None:
        from webhook_app.client import ApiError, Client

        if not api_key:
            raise click.UsageError("an API key is needed: --api-key or WEBHOOK_APP_API_KEY")
        try:
            client = Client(url, api_key)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        try:
            with client:
                command(client=client, **arguments)
        except ApiError as error:
            asked = f" (request {error.request_id})" if error.request_id and (error.status or 0) >= 500 else ""
            raise Stop(_code_of(error.status), error.detail + asked) from error

    return connected


def _code_of(status: int | None) -> Exit:
    return Exit.FAILED if status is None else BY_STATUS.get(status, Exit.FAILED)
