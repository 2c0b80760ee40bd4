"""A world around each database."""

import pytest

from tests.flows.world import World
from webhook_app.store.engine import Store


@pytest.fixture
def world(store: Store) -> World:
    return World(store)
