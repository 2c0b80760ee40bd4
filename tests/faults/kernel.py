"""Faults of the kernel's own, for one thread: system calls that fail as a broken disk makes them fail (seccomp, which
needs no privilege), and a small file system that nobody else sees (a mount namespace, which needs root)."""

import ctypes
import os
import platform
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

import pytest

Answer = TypeVar("Answer")
NO_NEW_PRIVS, SECCOMP, FILTER = 38, 22, 2
LOAD, EQUALS, RETURN = 0x20, 0x15, 0x06
ALLOW, FAIL_WITH = 0x7FFF0000, 0x00050000
OWN_MOUNTS, PRIVATE, RECURSIVE, REMOUNT = 0x00020000, 1 << 18, 1 << 14, 32
NUMBERS = {
    "x86_64": {"write": [1], "fsync": [74], "link": [86, 265], "rename": [82, 264, 316], "unlink": [87, 263]},
    "aarch64": {"write": [64], "fsync": [82], "link": [37], "rename": [38, 276], "unlink": [35]},
}
libc = ctypes.CDLL(None, use_errno=True)


class Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32)]


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(Instruction))]


def failing(call: str, number: int, act: Callable[[], Answer]) -> Answer:
    """What the act gives, in a thread in which every such system call fails with this errno. The filter cannot be taken
    off again, and goes with the thread."""

    def broken() -> Answer:
        numbers = NUMBERS[platform.machine()][call]
        lines = [Instruction(LOAD, 0, 0, 0)]
        for left, one in zip(range(len(numbers), 0, -1), numbers, strict=True):
            lines.append(Instruction(EQUALS, left, 0, one))
        lines += [Instruction(RETURN, 0, 0, ALLOW), Instruction(RETURN, 0, 0, FAIL_WITH | number)]
        program = Program(len(lines), (Instruction * len(lines))(*lines))
        _called(libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0))
        _called(libc.prctl(SECCOMP, FILTER, ctypes.byref(program), 0, 0))
        return act()

    return in_a_thread(broken)


def on_a_small_disk(folder: Path, size: str, act: Callable[[Callable[[str], None]], Answer]) -> Answer:
    """What the act gives, in a thread that sees a file system of this size at the folder; the act may give it another
    size. It is gone with the thread, and with the processes that it started."""

    def apart() -> Answer:
        try:
            _called(libc.unshare(OWN_MOUNTS))
        except PermissionError:
            pytest.skip("a file system of one's own takes root")
        _called(libc.mount(b"none", b"/", None, PRIVATE | RECURSIVE, None))
        _mount(folder, size, 0)
        return act(lambda size: _mount(folder, size, REMOUNT))

    return in_a_thread(apart)


def _mount(folder: Path, size: str, flags: int) -> None:
    _called(libc.mount(b"none", os.fsencode(folder), b"tmpfs", flags, f"size={size}".encode()))


def _called(answer: int) -> None:
    if answer != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def in_a_thread(act: Callable[[], Answer]) -> Answer:
    """What the act gives or raises, in a thread that ends with it."""
    done = Future[Answer]()

    def run() -> None:
        try:
            done.set_result(act())
        except BaseException as error:
            done.set_exception(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return done.result()
