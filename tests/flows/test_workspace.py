"""Folders to work in: gone after their block, or when their process is killed, and never taken from one that lives."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from webhook_app.flows import workspace as workspaces
from webhook_app.flows.workspace import sweep, workspace

WORKING = """
import sys
from webhook_app.flows.workspace import workspace
with workspace() as folder:
    (folder / "fetched-0").write_bytes(b"picture")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary directory."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@contextmanager
def working(top: Path) -> Iterator[tuple[Path, "subprocess.Popen[bytes]"]]:
    """Another process at its work, and its folder."""
    environment = {"TMPDIR": str(top), "PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", WORKING], env=environment, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        yield Path(process.stdout.readline().decode().strip()), process
        process.kill()


def test_a_folder_is_gone_after_its_block_whatever_happens_in_it(top: Path) -> None:
    with workspace() as folder:
        (folder / "inside").mkdir()
        (folder / "inside" / "file").write_bytes(b"x")
        assert (folder.parent, folder.stat().st_mode & 0o777) == (top, 0o700)
    with pytest.raises(ZeroDivisionError), workspace():
        _ = 1 / 0
    assert list(top.iterdir()) == []


def test_a_killed_process_s_folder_is_swept_and_a_living_one_s_is_not(top: Path) -> None:
    with working(top) as (living, _), working(top) as (dead, process):
        os.kill(process.pid, signal.SIGSTOP)
        assert sweep() == 0
        assert dead.exists()
        process.kill()
        process.wait()
        with workspace() as ours:
            assert sweep() == 1
            assert sorted(top.iterdir()) == sorted([living, ours])
            assert (living / "fetched-0").read_bytes() == b"picture"


def test_what_is_not_ours_is_left_alone(top: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "file").write_bytes(b"x")
    (top / "webhook-app-work-link").symlink_to(outside)
    (top / "webhook-app-work-file").write_bytes(b"x")
    (top / "webhook-app-s3").mkdir()
    before = sorted(top.iterdir())
    assert sweep() == 0
    assert (sorted(top.iterdir()), (outside / "file").exists()) == (before, True)


def test_a_folder_that_is_swept_before_it_is_locked_is_made_anew(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between making and locking it looks like a dead process's."""
    make, swept = tempfile.mkdtemp, []

    def mkdtemp(**options: str) -> str:
        folder = make(**options)
        if not swept:
            swept.append(sweep())
        return folder

    monkeypatch.setattr(workspaces.tempfile, "mkdtemp", mkdtemp)
    with workspace() as folder:
        assert (swept, folder.is_dir(), sweep()) == ([1], True, 0)


def test_many_who_work_and_sweep_at_once_take_nothing_from_each_other(top: Path) -> None:
    begin = threading.Barrier(6)

    def work(_: int) -> None:
        begin.wait()
        for _ in range(50):
            with workspace() as folder:
                (folder / "file").write_bytes(b"x")
                sweep()
                assert (folder / "file").read_bytes() == b"x"

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(6)))
    assert list(top.iterdir()) == []
