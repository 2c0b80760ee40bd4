"""gunicorn's worker with threads, and no thread for a connection before it says something.

gunicorn gives each new connection a thread for five seconds; a few hundred that say nothing then keep all others out.
"""

import errno
import selectors
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

NOTHING_THERE = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED})


class Connection(TConn):  # type: ignore[misc]  # gunicorn has no types
    """One whose end keeps nobody waiting: gunicorn lingers two seconds for each in the thread that accepts."""

    pool: ThreadPoolExecutor

    def close(self, graceful: bool = False) -> None:
        try:
            self.pool.submit(super().close, graceful)
        except RuntimeError:  # The worker ends, and takes no more work.
            super().close()


class PatientWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """New connections wait where those do that gunicorn itself has given up on, and are closed as they are."""

    def accept(self, listener: Any) -> None:
        """Take one connection, and watch it."""
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno not in NOTHING_THERE:
                raise
            return
        self.nr_conns += 1
        connection = Connection(self.cfg, client, address, listener.getsockname())
        connection.pool = self.tpool
        connection.timeout = time.monotonic() + self.cfg.keepalive
        self.pending_conns.append(connection)
        self.poller.register(client, selectors.EVENT_READ, partial(self.on_pending_socket_readable, connection))
