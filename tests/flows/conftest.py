"""A world around each database, and its archive."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.flows.erasing import Eraser
from tests.flows.keeper import Keeper
from tests.flows.postman import Postman
from tests.flows.world import World
from webhook_app.pictures.inspect import PictureInspector
from webhook_app.storage.local import LocalStorage
from webhook_app.store.engine import Store


@pytest.fixture
def world(store: Store) -> World:
    return World(store)


@pytest.fixture(scope="module")
def inspector() -> Iterator[PictureInspector]:
    made = PictureInspector(max_bytes=1_000_000)
    yield made
    made.close()


@pytest.fixture
def keeper(world: World, tmp_path: Path, inspector: PictureInspector) -> Keeper:
    return Keeper(world, LocalStorage(tmp_path / "archive"), inspector)


@pytest.fixture
def eraser(keeper: Keeper, tmp_path: Path) -> Eraser:
    return Eraser(keeper, tmp_path)


@pytest.fixture
def postman(world: World) -> Postman:
    world.at = datetime.now(UTC)
    return Postman(world)
