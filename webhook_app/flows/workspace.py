"""Folders to work in, below the system's temporary directory. What they hold may have been erased meanwhile, so nothing
stays of a process that died: its folder is locked while it lives, and the kernel drops the lock however it dies."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "webhook-app-work-"
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def workspace() -> Iterator[Path]:
    """A folder of one's own, gone after the block. Raises OSError where there is no room for it."""
    folder, lock = _locked()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _locked() -> tuple[Path, int]:
    """A new folder and its lock. Whoever sweeps may be quicker than our lock; then that folder is gone, and another one
    is made."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        with contextlib.suppress(FileNotFoundError), contextlib.ExitStack() as stack:
            lock = os.open(folder, FOLDER)
            stack.callback(os.close, lock)
            with contextlib.suppress(OSError):  # A file system without locks: nobody else gets one either.
                fcntl.flock(lock, fcntl.LOCK_EX)
            os.stat(folder)
            stack.pop_all()
            return folder, lock


def sweep() -> int:
    """Remove the folders of processes that are no more, whatever installation of this user they worked for. Returns how
    many there were. Raises OSError when the temporary directory cannot be read."""
    with contextlib.ExitStack() as stack:
        top = os.open(tempfile.gettempdir(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, top)
        return sum(_remove_if_dead(name, top) for name in os.listdir(top) if name.startswith(PREFIX))


def _remove_if_dead(name: str, top: int) -> bool:
    """Under its lock, so that nobody begins to work in it meanwhile. A link that somebody made is not followed."""
    try:
        lock = os.open(name, FOLDER, dir_fd=top)
    except OSError:  # Gone, no folder, or not ours to read.
        return False
    try:
        if os.fstat(lock).st_uid != os.geteuid():
            return False
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(name, dir_fd=top)
    except OSError:  # Somebody works in it, or nobody can tell; or its orphaned decoder writes there still.
        return False
    finally:
        os.close(lock)
    return True
