"""The drainer: it outlives everything that can meet it, for nobody else brings back what waits."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.web.doors import Doors
from webhook_app.storage.port import Drained, Take
from webhook_app.storage.spool import FileSpool
from webhook_app.store.engine import Store
from webhook_app.web.spooling import Drainer


class Faulty(FileSpool):
    """Fails at its first drains, with what nobody foresaw."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.failing = 3
        self.drained = threading.Event()

    def drain(self, take: Take) -> Drained:
        if self.failing:
            self.failing -= 1
            raise ZeroDivisionError("a bug")
        self.drained.set()
        return Drained(0, 0)


@pytest.fixture
def spool(tmp_path: Path) -> Faulty:
    return Faulty(tmp_path / "spool")


@pytest.fixture
def drainer(store: Store, tmp_path: Path, spool: Faulty) -> Iterator[Drainer]:
    made = Drainer(replace(Doors(store, tmp_path).parts, spool=spool), every_s=0.01)
    yield made
    made.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_drainer_that_dies_has_a_successor(drainer: Drainer, spool: Faulty) -> None:
    drainer.start()
    assert spool.drained.wait(20)
    assert spool.failing == 0


def test_a_drainer_that_was_stopped_stays_so(drainer: Drainer, spool: Faulty) -> None:
    spool.failing = 0
    drainer.start()
    assert spool.drained.wait(20)
    thread = drainer._thread
    drainer.stop()
    assert thread is not None
    thread.join(20)
    assert drainer._thread is thread
