"""Exit codes, and the one place where errors become a line on stderr and a code."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import NoReturn

import click

from webhook_app.domain.errors import ProblemError, StorageError
from webhook_app.settings import SettingsError


class Exit(IntEnum):
    """What the shell is told (interface.md 6)."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    NOT_ALLOWED = 4
    CONFLICT = 5
    JOB_FAILED = 6
    TIMED_OUT = 7
    WAIT_ELAPSED = 8


BY_STATUS = {
    401: Exit.NOT_ALLOWED,
    403: Exit.NOT_ALLOWED,
    404: Exit.NOT_FOUND,
    409: Exit.CONFLICT,
    410: Exit.CONFLICT,
    422: Exit.USAGE,
}


class Stop(Exception):
    """End with this line on stderr and this code."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code


@contextmanager
def said() -> Iterator[None]:
    """Turn what the rooms raise into one line on stderr and an exit code."""
    try:
        yield
    except Stop as error:
        _end(error.code, str(error))
    except SettingsError as error:
        _end(Exit.USAGE, str(error))
    except StorageError as error:
        _end(Exit.FAILED, str(error))
    except ProblemError as error:
        _end(BY_STATUS.get(error.status, Exit.FAILED), explained(error))


def explained(error: ProblemError) -> str:
    """The detail, and what else is known of the cause: more than a client may be told."""
    return " ".join([error.detail, *getattr(error, "__notes__", ())])


def _end(code: Exit, line: str) -> NoReturn:
    click.echo(f"error: {line}", err=True)
    raise click.exceptions.Exit(int(code))
