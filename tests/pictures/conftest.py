"""One pool of children for a module: starting them is what takes time."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from webhook_app.pictures.children import DecoderPool
from webhook_app.pictures.inspect import PictureInspector

MAX_BYTES = 5_000_000


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    made = DecoderPool(processes=1)
    yield made
    made.close()


@pytest.fixture
def inspector(pool: DecoderPool) -> PictureInspector:
    return PictureInspector(MAX_BYTES, pool=pool)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes], Path]:
    def put(content: bytes) -> Path:
        path = tmp_path / "download"
        path.write_bytes(content)
        return path

    return put
