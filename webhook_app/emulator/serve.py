"""Runs the emulator until it is told to stop. Threads: one per connection, as pictures and held submits take time."""

import signal
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from webhook_app.emulator import wire
from webhook_app.emulator.app import create_app
from webhook_app.emulator.options import EmulatorOptions

ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, never bound


class _QuietHandler(WSGIRequestHandler):
    """No line per request; the ledger has it all."""

    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing."""

    def connection_dropped(self, error: BaseException, environ: dict[str, Any] | None = None) -> None:
        """The client is gone, or an answer has ended its connection by order."""
        self.close_connection = True
        if isinstance(error, wire.Reset):
            wire.reset(self.connection)


def serve(
    options: EmulatorOptions, *, ready: Callable[[str], None] | None = None, stop: threading.Event | None = None
) -> None:
    """Serve until SIGTERM, SIGINT or `stop`; then return. `ready` is called with the base URL once the socket listens.

    Signals are heard on the main thread only; on another one, pass `stop`. A port in use raises SystemExit.
    """
    stop = threading.Event() if stop is None else stop
    server = _listening(options, stop)
    url = base_url(options.host, server.server_port, "https" if options.tls_certificate else "http")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    with _stopping_on_signals(stop):
        thread.start()
        print(f"listening on {url}", file=sys.stderr, flush=True)
        if ready is not None:
            ready(url)
        stop.wait()
    server.shutdown()
    server.server_close()


def _listening(options: EmulatorOptions, stop: threading.Event) -> BaseWSGIServer:
    pair = None if options.tls_certificate is None else (options.tls_certificate, options.tls_key)
    app = create_app(options, stop)
    server = make_server(
        options.host, options.port, app, threaded=True, request_handler=_QuietHandler, ssl_context=pair
    )
    if isinstance(server.socket, ssl.SSLSocket):
        # The handshake belongs to the connection's thread: a client that does not speak would stop all others.
        server.socket.do_handshake_on_connect = False  # type: ignore[attr-defined]  # typeshed lacks it
    return server


def base_url(host: str, port: int, scheme: str = "http") -> str:
    """An address to reach the server at from this machine."""
    name = ANY_ADDRESS.get(host, host)
    return f"{scheme}://[{name}]:{port}" if ":" in name else f"{scheme}://{name}:{port}"


@contextmanager
def _stopping_on_signals(stop: threading.Event) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def hear(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, hear) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
