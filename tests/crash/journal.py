"""The client's own book: what it asked, under which Idempotency-Key, and every answer that it got."""

import contextlib
import random
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import requests

from tests.e2e.installation import Installation

AGAIN_S = 0.2
PATIENCE_S = 300.0
DOUBLES = 4
# Not answers: the client is to come again.
COME_AGAIN = frozenset({409, 429, 500, 502, 503})


@dataclass(frozen=True, slots=True)
class Answer:
    """A job that was acknowledged to the client. `replayed` is what the answer says of itself."""

    status_code: int
    location: str
    track_id: str
    replayed: bool


@dataclass
class Journal:
    """Thread-safe. `asked` has every prompt and `answers` every acknowledgement by Idempotency-Key, `refused` every
    other final answer."""

    asked: dict[str, str] = field(default_factory=dict)
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    tries: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def track_ids(self) -> set[str]:
        """Every job that was acknowledged."""
        with self._lock:
            return {answer.track_id for answers in self.answers.values() for answer in answers}

    def submit(self, app: Installation, prompt: str, key: str | None = None) -> str:
        """Ask until somebody acknowledges; the same key all the while. Returns the key."""
        key = key or uuid.uuid4().hex
        until = time.monotonic() + PATIENCE_S
        while not self._try(app, prompt, key):
            if time.monotonic() > until:
                raise AssertionError(f"{prompt!r} was not acknowledged within {PATIENCE_S} s")
            time.sleep(AGAIN_S)
        return key

    def submit_doubled(self, app: Installation, prompt: str) -> str:
        """The same request several times at once."""
        key = uuid.uuid4().hex
        with ThreadPoolExecutor(DOUBLES) as pool:
            list(pool.map(lambda _: self.submit(app, prompt, key), range(DOUBLES)))
        return key

    def submit_many(self, app: Installation, jobs: int, *, at_once: int, doubled: float, dice: random.Random) -> None:
        """So many jobs with prompts of their own; a share of them doubled."""
        plan = [(f"storm {n}", dice.random() < doubled) for n in range(jobs)]
        with ThreadPoolExecutor(at_once) as pool:
            for asked in [pool.submit(self.submit_doubled if twice else self.submit, app, p) for p, twice in plan]:
                asked.result()

    def repeat_some(self, app: Installation, dice: random.Random) -> None:
        """Ask for a tenth of the jobs once more, long after they have ended."""
        for key in dice.sample(sorted(self.asked), len(self.asked) // 10):
            self.submit(app, self.asked[key], key)

    def _try(self, app: Installation, prompt: str, key: str) -> bool:
        with self._lock:
            self.asked[key] = prompt
            self.tries += 1
        with contextlib.suppress(requests.RequestException):
            # The seed is the prompt's: what the emulator does with a job follows from its input.
            seed = int.from_bytes(prompt.encode()[-4:])
            return self._note(key, app.submit(prompt, headers={"Idempotency-Key": key}, input={"seed": seed}))
        return False

    def _note(self, key: str, response: requests.Response) -> bool:
        if response.status_code in COME_AGAIN:
            return False
        with self._lock:
            if response.status_code not in {201, 202}:
                self.refused.append(f"{response.status_code} {response.text[:200]}")
                return True
            replayed = response.headers.get("Idempotent-Replayed") == "true"
            answer = Answer(response.status_code, response.headers["Location"], response.json()["track_id"], replayed)
            self.answers.setdefault(key, []).append(answer)
            return True
