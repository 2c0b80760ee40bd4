"""Children that die, hang, or outlive their parent."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from tests.pictures.samples import drawing, encoded
from webhook_app.domain.errors import NotAPicture
from webhook_app.pictures.children import DecoderPool
from webhook_app.pictures.inspect import PictureInspector

Write = Callable[[bytes], Path]
Pools = Callable[..., DecoderPool]


@pytest.fixture
def pools() -> Iterator[Pools]:
    made: list[DecoderPool] = []

    def make(processes: int = 1, **limits: float) -> DecoderPool:
        made.append(DecoderPool(processes, **limits))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for pool in made:
        pool.close()


@pytest.fixture
def picture(write: Write) -> Path:
    return write(encoded(drawing(), "PNG"))


def test_children_start_at_the_first_need_and_are_kept(pools: Pools, picture: Path) -> None:
    pool = pools(processes=2)
    assert pool.pids() == []
    pool.decode(picture)
    first = pool.pids()
    pool.decode(picture)
    assert len(first) == 1
    assert pool.pids() == first


def test_a_child_that_died_while_idle_is_replaced(pools: Pools, picture: Path) -> None:
    pool = pools()
    pool.decode(picture)
    (pid,) = pool.pids()
    os.kill(pid, signal.SIGKILL)
    assert pool.decode(picture).width == 300
    assert pool.pids() != [pid]


def test_a_child_killed_at_work_is_replaced_and_the_picture_tried_again(pools: Pools, picture: Path) -> None:
    pool = pools()
    pool.decode(picture)
    (pid,) = pool.pids()
    os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(pool.decode, picture)
        os.kill(pid, signal.SIGKILL)
        assert waiting.result(30).width == 300


def test_a_picture_that_no_child_survives_is_refused_and_may_come_good(pools: Pools, write: Write) -> None:
    pool = pools(wall_s=0.01)
    with pytest.raises(NotAPicture, match="decoder_died") as caught:
        pool.decode(write(encoded(Image.new("RGB", (4000, 4000)), "PNG")))
    assert caught.value.retryable
    assert pool.pids() == []


def test_a_picture_that_needs_more_memory_than_a_child_has_is_a_bomb(pools: Pools, write: Write) -> None:
    pool = pools(memory_mb=100, max_pixels=10_000 * 10_000)
    with pytest.raises(NotAPicture) as caught:
        pool.decode(write(encoded(Image.new("RGB", (9000, 9000)), "PNG")))
    assert (caught.value.reason, caught.value.retryable) == ("bomb", False)


@pytest.mark.parametrize("interpreter", ["/missing/python", "/bin/false"])
def test_no_child_at_all_is_not_the_pictures_fault(
    pools: Pools, picture: Path, monkeypatch: pytest.MonkeyPatch, interpreter: str
) -> None:
    monkeypatch.setattr(sys, "executable", interpreter)
    with pytest.raises(NotAPicture, match="decoder_unavailable") as caught:
        pools().decode(picture)
    assert caught.value.retryable


TALKATIVE = """#!{python}
import os, sys
os.write(1, b'{{"ready": true}}\\n')
for line in sys.stdin.buffer:
    for piece in ({answer},) * {times}:
        os.write(1, piece)
"""


@pytest.mark.parametrize(
    ("answer", "times"),
    [
        (b"not JSON\n", 1),
        (b"[1]\n", 1),
        (b'{"width": 1}\n', 1),
        (b'{"refused": "x"}\n', 1),
        (b'{"content_type": "image/png", "width": 1, "height": 1, "trailing_bytes": 0, "blankness": "odd"}\n', 1),
        (b"x" * 4096, 100),
    ],
)
def test_a_child_that_says_something_else_is_a_dead_one(
    pools: Pools, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes, times: int
) -> None:
    """A decoder that a picture has taken over may say anything."""
    program = tmp_path / "talkative"
    program.write_text(TALKATIVE.format(python=sys.executable, answer=answer, times=times))
    program.chmod(0o755)
    pool = pools()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(program))
        with pytest.raises(NotAPicture, match="decoder_died"):
            pool.decode(picture)
    assert pool.pids() == []
    assert pool.decode(picture).width == 300


def test_many_threads_share_two_children(pools: Pools, tmp_path: Path) -> None:
    pool = pools(processes=2)
    paths = [tmp_path / f"{number}" for number in range(16)]
    for number, path in enumerate(paths):
        path.write_bytes(encoded(drawing(100 + number, 50), "PNG"))
    with ThreadPoolExecutor(16) as threads:
        widths = [facts.width for facts in threads.map(pool.decode, paths)]
    assert widths == [100 + number for number in range(16)]
    assert len(pool.pids()) == 2


def test_closing_ends_the_children_also_at_work(pools: Pools, picture: Path) -> None:
    pool = pools()
    pool.decode(picture)
    (pid,) = pool.pids()
    os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(pool.decode, picture)
        pool.close()
        with pytest.raises(NotAPicture, match="decoder_unavailable"):
            waiting.result(30)
    assert pool.pids() == []
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_an_inspector_ends_only_children_of_its_own(pools: Pools, picture: Path) -> None:
    shared = pools()
    borrowing, owning = PictureInspector(10**7, pool=shared), PictureInspector(10**7)
    borrowing.inspect(picture, base64_text=False)
    owning.inspect(picture, base64_text=False)
    borrowing.close()
    owning.close()
    assert len(shared.pids()) == 1
    with pytest.raises(NotAPicture, match="decoder_unavailable"):
        owning.inspect(picture, base64_text=False)


def test_a_child_sees_no_secret_of_its_parent(pools: Pools, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "canary")
    pool = pools()
    pool.decode(picture)
    assert b"canary" not in Path(f"/proc/{pool.pids()[0]}/environ").read_bytes()


def test_children_die_with_their_parent(picture: Path) -> None:
    script = (
        "import sys, pathlib\n"
        "from webhook_app.pictures.children import DecoderPool\n"
        "pool = DecoderPool(1)\n"
        "pool.decode(pathlib.Path(sys.argv[1]))\n"
        "print(pool.pids()[0], flush=True)\n"
        "sys.stdin.read()\n"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script, str(picture)], stdin=pipe, stdout=pipe) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    ended, _, _ = select.select([child], [], [], 30)
    assert ended
