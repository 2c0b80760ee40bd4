"""A worker over a real database: it sends what it finds, hears of new jobs, and ends in order."""

import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.worker.conftest import Installed, install
from webhook_app.flows.workspace import workspace
from webhook_app.store import reads
from webhook_app.worker.service import NO_KEY, SecondWorker, announce_key, only_worker, work
from webhook_app.worker.ticks import Ticks, new_owner

PATIENCE_S = 20


def eventually(look: Callable[[], bool]) -> bool:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if look():
            return True
        time.sleep(0.01)
    return False


class Working:
    """A worker in a thread."""

    def __init__(self, installed: Installed) -> None:
        self.stop = threading.Event()
        self.thread = threading.Thread(target=work, args=(installed.parts, self.stop))
        self.thread.start()

    def end(self) -> bool:
        self.stop.set()
        self.thread.join(timeout=PATIENCE_S)
        return not self.thread.is_alive()


def test_a_worker_sends_what_waits_and_hears_of_what_comes(installed: Installed):
    first = installed.submit()
    working = Working(installed)
    try:
        assert eventually(lambda: installed.job(first)["status"] == "processing")
        second = installed.submit()
        assert eventually(lambda: installed.job(second)["status"] == "processing")
    finally:
        assert working.end()
    assert [submission.track_id for submission in installed.provider.submitted] == [first, second]


def test_a_worker_that_starts_removes_what_dead_ones_left(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    dead = tmp_path / "tmp" / "webhook-app-work-dead"
    half = installed.parts.settings.data_dir / "archive" / "blobs" / ".tmp-dead"
    for path in (dead / "fetched-0", half):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"picture")
        os.utime(path, (time.time() - 700,) * 2)
    with workspace() as living:
        working = Working(installed)
        try:
            assert eventually(lambda: not dead.exists() and not half.exists())
        finally:
            assert working.end()
        assert living.is_dir()


def test_the_callback_url_carries_the_attempts_token_and_fits_the_providers_column(tmp_path: Path):
    installed = install(tmp_path, CALLBACK_BASE_URL="https://tracker.example")
    track_id = installed.submit()
    working = Working(installed)
    try:
        assert installed.provider.got_one.wait(PATIENCE_S)
    finally:
        assert working.end()
    url = installed.provider.submitted[0].callback_url
    assert url is not None
    assert url.startswith(f"https://tracker.example/callbacks/modelslab/{track_id}/1.")
    assert len(url) <= 191
    token = url.rpartition("/")[2]
    assert installed.parts.tokens.check_callback("modelslab", track_id, token) == 1


def test_without_https_a_distant_provider_gets_no_webhook(installed: Installed):
    installed.submit()
    working = Working(installed)
    try:
        assert installed.provider.got_one.wait(PATIENCE_S)
    finally:
        assert working.end()
    assert installed.provider.submitted[0].callback_url is None


def test_events_are_numbered_by_a_running_worker(installed: Installed):
    track_id = installed.submit()
    working = Working(installed)

    def sealed() -> bool:
        with installed.parts.store.reading() as connection:
            events = reads.events_of(connection, track_id, limit=10)
        return len(events) >= 2 and all(event["seq"] for event in events)

    try:
        assert eventually(sealed)
    finally:
        assert working.end()


def test_stopping_waits_for_the_answer_of_what_was_sent(installed: Installed):
    installed.provider.answer.clear()
    track_id = installed.submit()
    working = Working(installed)
    assert installed.provider.got_one.wait(PATIENCE_S)
    working.stop.set()
    assert installed.job(track_id)["status"] == "submitting"
    installed.provider.answer.set()
    assert working.end()
    assert installed.job(track_id)["status"] == "processing"


def test_stopping_does_not_wait_beyond_the_grace(tmp_path: Path):
    installed = install(tmp_path, SHUTDOWN_GRACE_S="1")
    installed.provider.answer.clear()
    track_id = installed.submit()
    working = Working(installed)
    try:
        assert installed.provider.got_one.wait(PATIENCE_S)
        assert working.end()
        assert installed.job(track_id)["status"] == "submitting"
    finally:
        installed.provider.answer.set()


def test_without_a_key_jobs_wait_and_the_provider_is_paused_until_there_is_one(tmp_path: Path):
    without = install(tmp_path, MODELSLAB_API_KEY="")
    assert not announce_key(without.parts)
    assert _paused_reason(without) == NO_KEY
    names = [ticking.name for ticking in Ticks(without.parts, owner=new_owner()).all()]
    assert "send" not in names
    with_key = install(tmp_path)
    assert announce_key(with_key.parts)
    assert _paused_reason(with_key) is None


def _paused_reason(installed: Installed) -> str | None:
    with installed.parts.store.reading() as connection:
        return next((row["paused_reason"] for row in reads.provider_state(connection)), None)


def test_sqlite_has_one_worker_and_a_dead_one_leaves_its_place(tmp_path: Path):
    database = tmp_path / "app.db"
    with only_worker(database), pytest.raises(SecondWorker, match="another worker"), only_worker(database):
        pass
    with only_worker(database):
        pass


def test_postgresql_has_any_number_of_workers():
    with only_worker(None), only_worker(None):
        pass
