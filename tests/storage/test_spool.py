"""The spool: nothing that was promised is lost, whatever happens to the process or the disk."""

import errno
import fcntl
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from webhook_app.domain.errors import StorageError
from webhook_app.storage.port import Drained, Pick, Take
from webhook_app.storage.spool import NEW_FOR_S, FileSpool

ENTRIES = st.lists(st.binary(max_size=200).filter(lambda entry: b"\n" not in entry), min_size=1, max_size=8)
# A process that spools without end and says each number once it is on the disk.
WRITER = """
import sys
from pathlib import Path
from webhook_app.storage.spool import FileSpool
spool = FileSpool(Path(sys.argv[1]))
for n in range(10**9):
    spool.append([b"%d" % n + b"x" * 3000])
    print(n, flush=True)
"""


@pytest.fixture
def spool(tmp_path: Path) -> FileSpool:
    return FileSpool(tmp_path / "spool")


def into(taken: list[bytes]) -> Take:
    """Takes everything."""

    def take(entries: Sequence[bytes]) -> Sequence[bytes]:
        taken.extend(entries)
        return []

    return take


def drained(spool: FileSpool) -> list[bytes]:
    taken: list[bytes] = []
    spool.drain(into(taken))
    return taken


def file_of(spool: FileSpool, tmp_path: Path) -> Path:
    (path,) = (tmp_path / "spool").glob("*.spool")
    return path


def test_what_was_appended_is_handed_over_once(spool: FileSpool) -> None:
    spool.append([b"a", b"", b"c"])
    spool.append([b"d"])
    assert spool.entries() == 4
    assert drained(spool) == [b"a", b"", b"c", b"d"]
    assert spool.entries() == 0
    assert drained(spool) == []


def test_an_empty_spool_makes_no_directory(spool: FileSpool, tmp_path: Path) -> None:
    assert (spool.entries(), drained(spool)) == (0, [])
    assert list(tmp_path.iterdir()) == []


def test_what_the_taker_refuses_stays(spool: FileSpool) -> None:
    spool.append([b"a"])

    def fail(entries: Sequence[bytes]) -> Sequence[bytes]:
        raise RuntimeError("not now")

    with pytest.raises(RuntimeError):
        spool.drain(fail)
    assert drained(spool) == [b"a"]


def test_what_nobody_will_ever_take_is_set_aside_and_can_be_tried_again(spool: FileSpool, tmp_path: Path) -> None:
    spool.append([b"a", b"bad", b"c"])
    path = file_of(spool, tmp_path)
    assert spool.drain(lambda entries: [entry for entry in entries if entry == b"bad"]) == Drained(2, 1)
    assert (spool.entries(), spool.unreadable()) == (0, 1)
    path.with_suffix(".unreadable").rename(tmp_path / "spool" / "again.spool")
    assert drained(spool) == [b"bad"]


def test_what_comes_while_it_is_drained_is_drained_too(spool: FileSpool) -> None:
    spool.append([b"first"])
    taken: list[bytes] = []

    def take(entries: Sequence[bytes]) -> Sequence[bytes]:
        taken.extend(entries)
        if len(taken) == 1:
            spool.append([b"second"])
        return []

    assert spool.drain(take) == Drained(2, 0)
    assert (taken, spool.entries()) == ([b"first", b"second"], 0)


@pytest.mark.parametrize("disk_is_full", [False, True])
def test_an_entry_that_is_half_written_is_no_torn_one(
    spool: FileSpool, tmp_path: Path, disk_is_full: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The drainer has a fifth of a second for its mistake; without one it waits for the other half, or for its end."""
    halfway, go_on, write = threading.Event(), threading.Event(), os.write

    def write_half(file: int, data: memoryview) -> int:
        if halfway.is_set():
            assert go_on.wait(10)
            monkeypatch.undo()
            if disk_is_full:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(file, data)
        done = write(file, data[: len(data) // 2])
        halfway.set()
        return done

    spool.append([b"first"])
    monkeypatch.setattr(os, "write", write_half)
    with ThreadPoolExecutor(2) as pool:
        appended = pool.submit(spool.append, [b"second"])
        assert halfway.wait(10)
        draining = pool.submit(drained, spool)
        threading.Timer(0.2, go_on.set).start()
        assert isinstance(appended.exception(10), StorageError if disk_is_full else type(None))
        taken = draining.result(10)
    spool.append([b"third"])
    taken += drained(spool)
    assert taken == ([b"first", b"third"] if disk_is_full else [b"first", b"second", b"third"])
    assert (spool.entries(), spool.unreadable()) == (0, 0)


def test_a_new_file_is_nobody_s_prey(spool: FileSpool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process drains right before the file is locked."""
    other, lock = FileSpool(tmp_path / "spool"), fcntl.flock

    def drain_and_lock(file: int, how: int) -> None:
        monkeypatch.undo()
        assert drained(other) == []
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", drain_and_lock)
    spool.append([b"a"])
    assert other.entries() == 1
    assert drained(spool) == [b"a"]


def test_a_file_that_was_only_begun_is_swept_once_it_is_old(spool: FileSpool, tmp_path: Path) -> None:
    spool.append([b"a"])
    old, young = tmp_path / "spool" / "1-old.new", tmp_path / "spool" / "2-young.new"
    for path in (old, young):
        path.touch()
    long_ago = time.time() - NEW_FOR_S - 1
    os.utime(old, (long_ago, long_ago))
    assert drained(spool) == [b"a"]
    assert list((tmp_path / "spool").glob("*.new")) == [young]


def test_the_file_of_a_living_process_is_left_to_it(spool: FileSpool, tmp_path: Path) -> None:
    spool.append([b"mine"])
    other = FileSpool(tmp_path / "spool")
    assert drained(other) == []
    assert other.entries() == 1
    assert drained(spool) == [b"mine"]


def test_a_killed_process_loses_nothing_that_it_promised(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "spool")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        promised = [int(writer.stdout.readline()) for _ in range(50)]
        writer.send_signal(signal.SIGKILL)
        promised += [int(line) for line in writer.stdout if line.endswith("\n")]
    found = {int(entry.partition(b"x")[0]) for entry in drained(FileSpool(tmp_path / "spool"))}
    assert found >= set(promised)
    assert list((tmp_path / "spool").glob("*.spool")) == []


def test_two_who_drain_a_dead_process_hand_over_each_entry_once(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", WRITER.replace("10**9", "600"), str(tmp_path / "spool")], check=True)
    assert run.returncode == 0
    taken: list[bytes] = []
    threads = [threading.Thread(target=FileSpool(tmp_path / "spool").drain, args=(into(taken),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 600


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries=ENTRIES, cut=st.integers(min_value=0, max_value=2000))
def test_a_file_cut_anywhere_loses_the_torn_entry_alone(
    entries: list[bytes], cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    spool = FileSpool(folder)
    spool.append(entries)
    (path,) = folder.glob("*.spool")
    data = path.read_bytes()[:cut]
    path.unlink()
    (folder / "left.spool").write_bytes(data)
    whole = data.count(b"\n")
    taken = drained(FileSpool(folder))
    assert taken[:whole] == entries[:whole]
    assert len(taken) <= whole + 1  # The last one may lack its line feed alone.
    assert taken == entries[: len(taken)]


def test_a_changed_line_is_set_aside_and_the_others_are_handed_over(spool: FileSpool, tmp_path: Path) -> None:
    spool.append([b"first", b"second", b"third"])
    path = file_of(spool, tmp_path)
    path.write_bytes(path.read_bytes().replace(b"second", b"sEcond"))
    taken: list[bytes] = []
    assert spool.drain(into(taken)) == Drained(2, 1)
    assert taken == [b"first", b"third"]
    assert b"sEcond" in path.with_suffix(".unreadable").read_bytes()
    assert (spool.entries(), spool.unreadable()) == (0, 1)


def test_a_disk_that_is_full_refuses_and_leaves_no_half_entry(spool: FileSpool, tmp_path: Path) -> None:
    """The limit on a file's size stands for the full disk: the write fails half-way in the same place."""
    spool.append([b"kept"])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    size = file_of(spool, tmp_path).stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 500, before[1]))
    try:
        with pytest.raises(StorageError):
            spool.append([b"x" * 1000])
        spool.append([b"small"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert drained(spool) == [b"kept", b"small"]


def test_a_spool_at_its_cap_refuses(tmp_path: Path) -> None:
    spool = FileSpool(tmp_path, most_bytes=100)
    spool.append([b"x" * 50])
    with pytest.raises(StorageError, match="100 bytes"):
        spool.append([b"x" * 50])
    assert drained(spool) == [b"x" * 50]
    spool.append([b"x" * 50])


def test_a_directory_that_cannot_be_made_is_named_as_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    spool = FileSpool(tmp_path / "file" / "spool")
    for act in (spool.check, lambda: spool.append([b"a"])):
        with pytest.raises(StorageError, match="spool"):
            act()


def test_a_forked_child_has_a_file_of_its_own(spool: FileSpool, tmp_path: Path) -> None:
    spool.append([b"parent"])
    child = os.fork()
    if child == 0:
        spool.append([b"child"])
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert len(list((tmp_path / "spool").glob("*.spool"))) == 2
    assert sorted(drained(spool)) == [b"child", b"parent"]


def test_a_line_feed_is_no_entry(spool: FileSpool) -> None:
    with pytest.raises(ValueError, match="line"):
        spool.append([b"a\nb"])


def holding(*texts: bytes) -> Pick:
    """Picks the lines that hold one of these."""
    return lambda lines: [any(text in line for text in texts) for line in lines]


def test_what_was_set_aside_is_overwritten_where_it_is_picked(spool: FileSpool, tmp_path: Path) -> None:
    spool.append([b"first of a", b"second of b", b"third of a"])
    path = file_of(spool, tmp_path)
    path.write_bytes(path.read_bytes().replace(b"of", b"Of"))
    assert drained(spool) == []
    aside = path.with_suffix(".unreadable")
    before = aside.read_bytes()
    assert spool.forget(holding(b"Of a", b"nothing")) == 2
    after = aside.read_bytes()
    assert len(after) == len(before)
    assert (b"second" in after, b"first" in after, b"third" in after) == (True, False, False)
    assert (spool.forget(holding(b"Of a")), spool.unreadable()) == (0, 3)


def test_more_than_a_batch_is_overwritten_and_the_rest_stays_as_it_is(spool: FileSpool, tmp_path: Path) -> None:
    aside = tmp_path / "spool" / "1-dead.unreadable"
    aside.parent.mkdir()
    lines = [b"%d of %s" % (n, b"ab"[n % 2 :][:1]) for n in range(1000)]
    aside.write_bytes(b"\n".join([*lines, b"", b"torn of a"]))
    assert spool.forget(holding(b"of a")) == 501
    kept = aside.read_bytes().split(b"\n")
    assert [line for line in kept if line.strip(b"-")] == lines[1::2]
    assert [len(line) for line in kept] == [len(line) for line in [*lines, b"", b"torn of a"]]


LIMITED = """
import resource, sys
from pathlib import Path
from webhook_app.storage.spool import FileSpool
spool = FileSpool(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))
print(spool.forget(lambda lines: [b"x" in line for line in lines]))
print(spool.drain(lambda entries: []).unreadable)
"""


def test_a_large_file_without_a_line_feed_takes_little_memory(tmp_path: Path) -> None:
    for name in ("1-dead.unreadable", "2-dead.spool"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(700 << 20)
            file.write(b"x")
    done = subprocess.run([sys.executable, "-c", LIMITED, tmp_path], capture_output=True, text=True, timeout=120)
    assert (done.stdout.split(), done.stderr) == (["1", "175"], "")
