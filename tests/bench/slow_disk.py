"""A disk whose every fsync takes 2 ms more, for processes that are started meanwhile; on PostgreSQL each flush of a
commit, for the connections that are opened meanwhile."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from webhook_app.store.engine import normalised

LATER_US = 2_000
SOURCE = f"""
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <unistd.h>
int fsync(int fd) {{ usleep({LATER_US}); return syscall(SYS_fsync, fd); }}
int fdatasync(int fd) {{ usleep({LATER_US}); return syscall(SYS_fdatasync, fd); }}
"""


@contextlib.contextmanager
def slowed(url: str, folder: Path) -> Iterator[dict[str, str] | None]:
    """What such a process needs in its environment. None, said on stdout, where it cannot be done here."""
    if make_url(url).get_backend_name() == "sqlite":
        yield _preloaded(folder)
        return
    with _delayed(url) as done:
        yield {} if done else None


def _preloaded(folder: Path) -> dict[str, str] | None:
    compiler = shutil.which("cc")
    if compiler is None:
        print("no C compiler here: a slow disk is not measured on SQLite")
        return None
    source, library = folder / "slow.c", folder / "slow.so"
    source.write_text(SOURCE)
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(source)], check=True)
    return {"LD_PRELOAD": str(library)}


@contextlib.contextmanager
def _delayed(url: str) -> Iterator[bool]:
    """PostgreSQL waits before it flushes a commit, where we may tell it to (`commit_delay` is the superuser's)."""
    name = make_url(url).database
    engine = create_engine(normalised(url), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            # Without the second it waits only beside five other transactions.
            for setting, value in (("commit_delay", LATER_US), ("commit_siblings", 0)):
                connection.execute(text(f'ALTER DATABASE "{name}" SET {setting} = {value}'))
    except DBAPIError:
        print("no superuser here: a slow disk is not measured on PostgreSQL")
        yield False
        return
    try:
        yield True
    finally:
        with engine.connect() as connection:
            connection.execute(text(f'ALTER DATABASE "{name}" RESET ALL'))
        engine.dispose()
