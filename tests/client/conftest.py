"""A server, and a client of it."""

from collections.abc import Iterator

import pytest

from tests.served import Served, app, parts, served
from webhook_app.client import Client

__all__ = ["app", "client", "parts", "served"]


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(served.url, served.key) as made:
        yield made
