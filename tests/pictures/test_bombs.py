"""Small files that unpack to much: refused with little memory and little time (H8, H9)."""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pictures.samples import chunk, png_claiming, png_with_text_bomb, webp_claiming
from webhook_app.domain.errors import NotAPicture
from webhook_app.pictures.children import DecoderPool
from webhook_app.pictures.decode import thumbnail_paths

MOST_MEMORY_KB = 256 * 1024
MOST_CPU_S = 5


def apng(frames: int) -> bytes:
    """An animation of 1 x 1 frames, whole and valid."""
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), chunk(b"acTL", struct.pack(">II", frames, 0))]
    data = zlib.compress(b"\0\xff\0\0")
    for number in range(frames):
        control = struct.pack(">IIIIIHHBB", max(0, 2 * number - 1), 1, 1, 0, 0, 1, 10, 0, 0)
        parts.append(chunk(b"fcTL", control))
        parts.append(chunk(b"fdAT", struct.pack(">I", 2 * number) + data) if number else chunk(b"IDAT", data))
    return b"".join([*parts, chunk(b"IEND", b"")])


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_kb(pid: int) -> int:
    """The most memory that the process ever had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (png_claiming(50_000, 50_000), "bomb"),
        (png_claiming(10_000, 10_000), "bomb"),
        (webp_claiming(16_383, 16_383), "bomb"),
        (png_with_text_bomb(), "bomb"),
        (apng(10_000), "animated"),
    ],
    ids=["50,000 x 50,000", "10,000 x 10,000", "webp canvas", "text", "10,000 frames"],
)
def test_a_bomb_costs_its_child_little(
    pool: DecoderPool, write: Callable[[bytes], Path], content: bytes, reason: str
) -> None:
    path = write(content)
    with pytest.raises(NotAPicture) as caught:
        pool.decode(path)
    (pid,) = pool.pids()
    assert (caught.value.reason, caught.value.retryable) == (reason, False)
    assert peak_kb(pid) < MOST_MEMORY_KB
    assert cpu_s(pid) < MOST_CPU_S
    assert not any(thumbnail.exists() for thumbnail in thumbnail_paths(path).values())


def test_a_full_disk_is_not_the_pictures_fault_and_the_child_lives(
    pool: DecoderPool, write: Callable[[bytes], Path]
) -> None:
    path = write(apng(1).replace(chunk(b"acTL", struct.pack(">II", 1, 0)), b""))
    for thumbnail in thumbnail_paths(path).values():
        thumbnail.symlink_to("/dev/full")
    before = pool.pids()
    with pytest.raises(NotAPicture) as caught:
        pool.decode(path)
    assert (caught.value.reason, caught.value.retryable) == ("disk_unavailable", True)
    assert pool.pids() == before or not before
