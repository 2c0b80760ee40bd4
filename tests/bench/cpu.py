"""CPU time from /proc: a whole process tree, or every process whose command line starts with a word."""

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def tree(root: int) -> set[int]:
    """The process and all its descendants."""
    parents = {pid: int(stat[1]) for pid in _pids() if (stat := _stat(pid)) is not None}
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def seconds(pids: set[int]) -> float:
    """User and system time of the processes, with that of their children who have ended."""
    total = 0
    for pid in pids:
        stat = _stat(pid)
        if stat is not None:
            total += sum(int(field) for field in stat[11:15])
    return total / TICKS


def postgres() -> set[int]:
    """Every process of PostgreSQL on this machine; the figure is only good while nobody else uses it."""
    found = set()
    for pid in _pids():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
        except OSError:
            continue
        if words.startswith(b"postgres") or words.endswith(b"/postgres"):
            found.add(pid)
    return found
