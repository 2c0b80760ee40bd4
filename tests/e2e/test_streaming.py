"""Following an installation over a restart, in threads (SQLite) and in greenlets (PostgreSQL)."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.installation import Installation, eventually, installation
from webhook_app.client import Client

ENDS_WITHIN_S = 10.0


@pytest.fixture
def app(database_url: str, tmp_path: Path, free_port: int) -> Iterator[Installation]:
    with installation(database_url, tmp_path, free_port) as made:
        yield made


class Follower:
    """A client that follows from the beginning, for as long as the test lasts."""

    def __init__(self, app: Installation) -> None:
        self.seqs: list[int] = []
        self.types: dict[str, set[str]] = {}
        self._app = app
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        with Client(self._app.url, self._app.key) as client:
            for event in client.stream(after=0):
                self.seqs.append(event["seq"])
                self.types.setdefault(event["track_id"] or "", set()).add(event["type"])

    def has(self, track_id: str, kind: str) -> bool:
        return kind in self.types.get(track_id, ())


def all_seqs(app: Installation) -> list[int]:
    with Client(app.url, app.key) as client:
        return [event["seq"] for event in client.events()]


@pytest.mark.timeout(300)
def test_a_stream_goes_on_behind_a_restart_as_if_there_had_been_none(app: Installation) -> None:
    web = app.start_web()
    app.start("worker")
    follower = Follower(app)
    first = app.submit("before").json()["track_id"]
    eventually(lambda: follower.has(first, "job.archived"), "the picture's archiving is told")
    began = time.monotonic()
    assert web.stop() == 0
    assert time.monotonic() - began < ENDS_WITHIN_S
    web = app.start_web()
    second = app.submit("after").json()["track_id"]
    eventually(lambda: follower.has(second, "job.archived"), "the second picture's archiving is told")
    eventually(lambda: follower.seqs == all_seqs(app), "the follower has the whole log")
    assert "Traceback" not in web.log.read_text()
