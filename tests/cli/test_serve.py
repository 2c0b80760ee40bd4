"""What `serve` prepares and says, and how children are looked after."""

import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.databases import free_port
from webhook_app.cli.demo import demo_environment, demo_key
from webhook_app.cli.serve import both, curl, first_key, greeting, prepare, verdict
from webhook_app.cli.supervise import Child, Supervisor
from webhook_app.settings import Settings, load_settings

PATIENCE_S = 60


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = load_settings({"DATA_DIR": str(tmp_path / "data"), "MODELSLAB_API_KEY": "canary-provider-1234"})
    prepare(made)
    return made


def test_serve_makes_the_database_and_may_be_repeated(settings: Settings):
    assert settings.sqlite_path is not None
    assert settings.sqlite_path.is_file()
    secret = settings.secret_keys
    prepare(settings)
    assert settings.secret_keys == secret


def test_the_first_key_is_shown_where_it_may_be(settings: Settings):
    secret, path = first_key(settings, show=True)
    assert secret is not None
    assert path is None
    assert not (settings.data_dir / "api-key").exists()
    assert secret in "\n".join(greeting(settings, secret, path))
    assert first_key(settings, show=True) == (None, None)


def test_elsewhere_the_first_key_is_in_a_file_of_its_owner_and_not_in_the_talk(settings: Settings):
    secret, path = first_key(settings, show=False)
    assert secret is None
    assert path == settings.data_dir / "api-key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = path.read_text().strip()
    told = "\n".join(greeting(settings, secret, path))
    assert kept.startswith("wapp_")
    assert kept not in told
    assert str(path) in told


def test_with_a_bootstrap_key_no_other_is_made(tmp_path: Path):
    settings = load_settings({"DATA_DIR": str(tmp_path / "data"), "BOOTSTRAP_API_KEY": "bootstrap-key-of-mine"})
    prepare(settings)
    assert first_key(settings, show=False) == (None, None)


def test_the_greeting_names_everything_and_no_secret(settings: Settings):
    told = "\n".join(greeting(settings, None, None))
    for word in ("webhook-app", "webhook-app.db", "archive", "http://127.0.0.1:8000", "…1234", "curl", "WARNING"):
        assert word in told
    assert "canary-provider" not in told
    assert curl(settings, None, None) in told


def test_the_verdict_depends_on_who_must_reach_us():
    assert "WARNING" in verdict(load_settings({"PUBLIC_URL": "http://example.com"}))
    assert "https" in verdict(load_settings({"PUBLIC_URL": "https://example.com"}))
    assert "local" in verdict(load_settings({"MODELSLAB_URL": "http://127.0.0.1:9/api"}))


def test_a_demo_takes_nothing_of_a_real_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    real = {
        "DATABASE_URL": "postgresql://db/real",
        "MODELSLAB_API_KEY": "real-key",
        "PUBLIC_URL": "https://example.com",
    }
    settings = load_settings(demo_environment({**real, "PATH": "/bin"}))
    assert settings.sqlite_path == tmp_path / "webhook-app-demo" / "webhook-app.db"
    assert settings.provider_is_local
    assert settings.modelslab_api_key != "real-key"
    assert settings.public_url == f"http://127.0.0.1:{settings.port}"


def test_a_demo_keeps_its_key_for_the_next_time(settings: Settings):
    first = demo_key(settings)
    assert demo_key(settings) == first
    assert stat.S_IMODE((settings.data_dir / "api-key").stat().st_mode) == 0o600


def test_a_demo_whose_database_went_gets_another_key(settings: Settings, tmp_path: Path):
    first = demo_key(settings)
    again = load_settings({"DATA_DIR": str(settings.data_dir), "DATABASE_URL": f"sqlite:///{tmp_path / 'new.db'}"})
    prepare(again)
    assert demo_key(again) != first


def test_a_server_is_a_web_and_a_worker():
    assert [child.name for child in both({})] == ["web", "worker"]


def test_a_child_that_dies_is_started_again_until_the_end(tmp_path: Path):
    told: list[str] = []
    twice, stop = threading.Event(), threading.Event()

    def tell(line: str) -> None:
        told.append(line)
        if len(told) == 2:
            twice.set()

    with (tmp_path / "log").open("ab") as log:
        child = Child("version", ["webhook_app", "version"], os.environ, log)
        thread = threading.Thread(target=Supervisor([child], grace_s=1, tell=tell).run, args=(stop,))
        thread.start()
        assert twice.wait(PATIENCE_S)
        stop.set()
        thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert "starting it again in 0.5 s" in told[0]
    assert "starting it again in 1.0 s" in told[1]


def test_a_child_that_cannot_work_ends_the_whole(tmp_path: Path):
    environment = {**os.environ, "DATA_DIR": str(tmp_path / "nothing")}
    with (tmp_path / "log").open("ab") as log:
        child = Child("worker", ["webhook_app", "worker"], environment, log)
        code = Supervisor([child], grace_s=1, tell=lambda line: None).run(threading.Event())
    assert code == 3
    assert "no database" in (tmp_path / "log").read_text()


def test_a_worker_says_at_its_start_that_the_archive_cannot_be_used(settings: Settings, tmp_path: Path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    environment = {**os.environ, "DATA_DIR": str(settings.data_dir), "ARCHIVE_URL": (in_the_way / "archive").as_uri()}
    command = [sys.executable, "-m", "webhook_app", "worker"]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as worker,
    ):
        told = eventually(lambda: "pictures wait until it can be used" in (tmp_path / "log").read_text())
        worker.terminate()
    assert told, (tmp_path / "log").read_text()
    assert worker.returncode == 0


def test_children_end_with_a_supervisor_that_was_killed(tmp_path: Path):
    """A kill -9 leaves no orphan that holds the port or the database."""
    port = free_port()
    environment = {**os.environ, "DATA_DIR": str(tmp_path / "data"), "PORT": str(port), "SHUTDOWN_GRACE_S": "2"}
    command = [sys.executable, "-m", "webhook_app", "serve"]
    with (tmp_path / "log").open("wb") as log:
        serving = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            assert eventually(lambda: answers(port)), (tmp_path / "log").read_text()
        finally:
            serving.kill()
            serving.wait()
    assert eventually(lambda: not answers(port))


def answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5).ok
    except requests.RequestException:
        return False


def eventually(look: Callable[[], bool]) -> bool:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if look():
            return True
        time.sleep(0.05)
    return False
