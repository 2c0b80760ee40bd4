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


def postgresql(database: str) -> set[int]:
    """The PostgreSQL processes that work for this database: its sessions, and the writers that all databases share."""
    found = set()
    for pid in _pids():
        try:
            title = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode(errors="replace")
        except OSError:
            continue
        shared = any(name in title for name in ("walwriter", "checkpointer", "background writer"))
        if title.startswith("postgres:") and (shared or f" {database} " in title):
            found.add(pid)
    return found
