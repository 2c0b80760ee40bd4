"""Tells the webhook: one POST, one try, thirty seconds, as the provider documents. On threads of its own."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue

import requests

from webhook_app import __version__
from webhook_app.emulator.postings import Posting

PATIENCE_S = 30
AT_ONCE = 32
EXCERPT = 200
USER_AGENT = f"webhook-app-emulator/{__version__}"


@dataclass(frozen=True, slots=True)
class Reply:
    """What the receiver answered: `http_status` None and an `error` when there was no answer in time."""

    http_status: int | None
    error: str | None = None


class CallbackSender:
    """Threads of its own: a slow receiver delays callbacks only. Daemons: a stop does not wait for a receiver."""

    def __init__(self) -> None:
        self._due: SimpleQueue[Callable[[], None]] = SimpleQueue()
        for number in range(AT_ONCE):
            threading.Thread(target=self._run, name=f"emulator-callback-{number}", daemon=True).start()

    def submit(self, send: Callable[[], None]) -> None:
        """Run `send`, which must not raise, on the next free thread."""
        self._due.put(send)

    def _run(self) -> None:
        while True:
            self._due.get()()

    def post(self, posting: Posting) -> Reply:
        """Send it on a fresh connection: a stale pooled one would lose callbacks that nobody ordered lost."""
        with requests.Session() as session:
            session.trust_env = (
                False  # A proxy of the machine must not stand between this process and a local receiver.
            )
            try:
                answer = session.post(
                    posting.url,
                    data=posting.body.encode(),
                    headers={"Content-Type": posting.content_type, "User-Agent": USER_AGENT},
                    timeout=PATIENCE_S,
                    allow_redirects=False,
                    stream=True,
                )
                return Reply(answer.status_code)
            except (requests.RequestException, ValueError) as error:
                return Reply(None, f"{type(error).__name__}: {error}"[:EXCERPT])
