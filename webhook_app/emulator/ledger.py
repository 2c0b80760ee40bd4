"""All that the emulator got and gave, in order and bounded. Entries are kept as JSON text: compact and final."""

import json
import threading
from collections import deque
from typing import Any, NamedTuple


class _Entry(NamedTuple):
    seq: int
    kind: str
    track_id: str
    text: str


class Ledger:
    """Thread-safe. Keeps the last `size` entries; `seq` keeps counting over those that fell out."""

    def __init__(self, size: int) -> None:
        self._entries: deque[_Entry] = deque(maxlen=size)
        self._lock = threading.Lock()
        self._seq = 0

    def record(self, kind: str, *, at: float, track_id: object = None, **facts: Any) -> None:
        """Append one entry. `at` is Unix time in seconds. A key must not be among the facts."""
        with self._lock:
            self._seq += 1
            entry = {"seq": self._seq, "at": round(at, 6), "kind": kind, "track_id": track_id, **facts}
            self._entries.append(_Entry(self._seq, kind, str(track_id), json.dumps(entry)))

    def clear(self) -> None:
        """Forget every entry; `seq` goes on."""
        with self._lock:
            self._entries.clear()

    def as_json(self, *, kind: str | None = None, track_id: str | None = None, after: int = 0) -> str:
        """`{"last_seq", "dropped", "entries"}`, oldest first; filters narrow. `dropped`: fell out or cleared."""
        with self._lock:
            entries, last = list(self._entries), self._seq
        kept = [
            entry.text
            for entry in entries
            if entry.seq > after and kind in (None, entry.kind) and track_id in (None, entry.track_id)
        ]
        return f'{{"last_seq":{last},"dropped":{last - len(entries)},"entries":[{",".join(kept)}]}}'
