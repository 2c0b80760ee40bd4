"""Acting on many items so that one that fails does not hold up the others."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import TypeVar

from webhook_app.domain.errors import DatabaseBusy, DatabaseUnavailable

Item = TypeVar("Item")


def each_apart(items: Iterable[Item], act: Callable[[Item], int]) -> int:
    """Act on each item in order, and return the sum. What acts raise is raised when the others are done; with the
    database away there are no others."""
    done: list[int] = []
    away: list[Item] = []

    def one(item: Item) -> None:
        if away:
            return
        try:
            done.append(act(item))
        except DatabaseBusy:
            raise
        except DatabaseUnavailable:
            away.append(item)
            raise

    # A stack calls back whatever the calls before have raised, and raises then.
    with ExitStack() as stack:
        for item in reversed(list(items)):
            stack.callback(one, item)
    return sum(done)
