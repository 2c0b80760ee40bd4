"""`python -m tests.crash.nursery`: a worker that is reborn at once. The parent imports and forks, the child is the
worker: that is `webhook-app worker` without the second that a start costs, so that a minute has room for many deaths.
"""

import ctypes
import os
import signal
import sys
from types import FrameType

PR_SET_PDEATHSIG = 1
PRELOADED = (
    "webhook_app.worker.service",
    "webhook_app.cli.start",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
)


def be_a_worker(parent: int) -> None:
    """Run the command in this process, which dies with its parent."""
    from webhook_app.cli import main

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)
    sys.argv = ["webhook-app", "worker"]
    main()


def run() -> int:
    """Until the worker ends by itself; its exit code."""
    for name in PRELOADED:
        __import__(name)
    parent, child, stopped = os.getpid(), 0, False

    def hand_on(number: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        if child:
            os.kill(child, number)

    while not stopped:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        child = os.fork()
        if child == 0:
            be_a_worker(parent)
            return 0
        signal.signal(signal.SIGTERM, hand_on)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            return os.waitstatus_to_exitcode(status)
    return 0


if __name__ == "__main__":
    sys.exit(run())
