"""The web server's process: gunicorn with the options that the settings ask for. Run by `web` with `python -m`.

Nothing here may import what gevent patches before the fork: the application is loaded in the workers.
"""

import _thread
import logging
import os
import resource
import signal
import socket
import struct
import sys
from types import FrameType
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from webhook_app import logs
from webhook_app.cli.collector import kept_for_good
from webhook_app.cli.supervise import end_with_supervisor
from webhook_app.settings import Settings, load_settings

BACKLOG = 4096
KEEPALIVE_S = 5
UNREAD_FOR_S = 60
SILENT_FOR_S = 15
CONNECTIONS_BESIDE_WAITERS = 11_000  # Among them many that say nothing, for `KEEPALIVE_S` each.


class ServerLog(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's own lines, through our logs. No access log: a callback's URL is a secret, and a proxy keeps one."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            log.handlers.clear()
            log.propagate = True
        self.error_log.setLevel(logging.NOTSET)

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """A client that fell silent within its request is no fault of ours."""
        (self.debug if isinstance(sys.exception(), BlockingIOError) else super().exception)(msg, *args, **kwargs)


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """The server of one installation; one application for each worker, made after the fork."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        super().__init__()

    def load_config(self) -> None:
        for name, value in options(self.settings).items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        with kept_for_good():
            from webhook_app.web.app import create_app
            from webhook_app.wiring import build

            return create_app(build(self.settings))


def options(settings: Settings) -> dict[str, Any]:
    """gunicorn's settings. gevent needs a connection for each waiter, gthread twice its threads."""
    gevent = settings.web_worker_class == "gevent"
    waiters = settings.max_waiters + CONNECTIONS_BESIDE_WAITERS
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return {
        "bind": f"{host}:{settings.port}",
        "backlog": BACKLOG,
        "workers": settings.web_concurrency,
        "worker_class": "gevent" if gevent else "webhook_app.cli.patience.PatientWorker",
        "threads": 1 if gevent else settings.web_threads,
        "worker_connections": waiters if gevent else max(2 * settings.web_threads, waiters),
        "graceful_timeout": settings.shutdown_grace_s,
        "keepalive": KEEPALIVE_S,
        "forwarded_allow_ips": ",".join(settings.forwarded_allow_ips),
        "control_socket_disable": True,
        "logger_class": ServerLog,
        "loglevel": settings.log_level,
        "proc_name": "webhook-app web",
        "when_ready": bound_patience,
        "post_worker_init": begin,
        **({"post_request": yield_to_others} if gevent else {}),
    }


def bound_patience(arbiter: Any) -> None:
    """Of every address that it listens at."""
    for listener in arbiter.LISTENERS:
        give_up_the_silent(listener.sock)


def give_up_the_silent(
    listener: socket.socket, *, unread_for_s: int = UNREAD_FOR_S, silent_for_s: int = SILENT_FOR_S
) -> None:
    """A client that reads nothing more of its answer, or does not go on with its request, would hold its thread for
    ever. Connections inherit these options from the socket that accepts them."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, unread_for_s * 1000)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", silent_for_s, 0))


def drain_on_sigterm(worker: Any) -> None:
    """SIGTERM ends all waits at once, and then whatever gunicorn does: its grace would pass waiting for them."""
    before = signal.getsignal(signal.SIGTERM)

    def end_waits(number: int, frame: FrameType | None) -> None:
        waiting = worker.wsgi.extensions.get("waiting")
        if waiting is not None:
            # Not threading.Thread: it takes locks, which the interrupted code may hold, and it waits.
            _thread.start_new_thread(waiting.drain, ())
        if callable(before):
            before(number, frame)

    signal.signal(signal.SIGTERM, end_waits)


def begin(worker: Any) -> None:
    """In each worker, after the fork: an orderly end, and the spool that a predecessor may have left."""
    drain_on_sigterm(worker)
    worker.wsgi.extensions["drainer"].start()


def yield_to_others(_worker: Any, _request: Any, _environ: Any, _response: Any) -> None:
    """Between two requests of a busy keep-alive connection; without it the other greenlets starve."""
    import gevent

    gevent.sleep(0)


def allow_files() -> None:
    """As many open files as this process may have: every waiter is a socket."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def run() -> None:
    end_with_supervisor()
    settings = load_settings()
    logs.configure(level=settings.log_level, form=settings.log_format, secrets=settings.secrets())
    # gunicorn would take more options from there, unseen by our settings.
    os.environ.pop("GUNICORN_CMD_ARGS", None)
    allow_files()
    Server(settings).run()


if __name__ == "__main__":
    run()
