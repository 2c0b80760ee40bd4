"""How many more jobs a client may queue (`MAX_QUEUED`), without counting 100,000 rows at every submit."""

import threading
import time
from collections.abc import Callable

from sqlalchemy import Connection

from webhook_app.store import jobs

COUNTED_FOR_S = 10.0
MOST_CLIENTS = 10_000


class QueueRoom:
    """One for each process. After a count, a tenth of the room that was found may be used without another one: close to
    the limit every submit counts, and P processes overstep it by a tenth of P at the most."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._lock = threading.Lock()
        self._left: dict[str, tuple[int, float]] = {}

    def take(self, connection: Connection, client_id: str, *, places: int = 1, taken: int = 0) -> bool:
        """Take so many places in the client's queue; False, and none is taken, when there are not enough. `taken` are
        those that this transaction has taken before and not written yet."""
        with self._lock:
            left, until = self._left.get(client_id, (0, 0.0))
            if left >= places and self._clock() < until:
                self._left[client_id] = (left - places, until)
                return True
        room = self._most - taken - jobs.queue_length(connection, client_id, most=self._most)
        with self._lock:
            if len(self._left) >= MOST_CLIENTS:
                self._left.clear()
            self._left[client_id] = (room // 10, self._clock() + COUNTED_FOR_S)
        return room >= places
