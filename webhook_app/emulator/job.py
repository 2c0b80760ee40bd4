"""One accepted generation, from its submit to its pictures."""

import re
import threading
from dataclasses import dataclass, field
from enum import StrEnum

from webhook_app.emulator.behaviour import Fate
from webhook_app.emulator.submission import Submission
from webhook_app.emulator.words import SubmitForm

PICTURE_NAME = re.compile(r"(?P<prefix>[0-9a-f-]{36})-(?P<index>[0-9])\.(?P<suffix>png|base64)")


class JobState(StrEnum):
    """Success and failed are final."""

    PROCESSING = "processing"
    SUCCESS = "success"
    FAILED = "failed"


@dataclass(slots=True, eq=False)
class Job:
    """`base` is the scheme and host that the submit came to, `fetch_path` the route family's fetch path.

    `placed_at`, `starts_at` and `done_at` are on the timer's clock. `shown_form` is how the submit was answered, None
    until then: it decides which `id` the callback carries, as a client never told an id should not learn it there.
    `fetches` counts those since the job was done. `deleted`: the client had its pictures removed.
    """

    id: int
    prefix: str
    base: str
    fetch_path: str
    submission: Submission
    fate: Fate
    seed: int
    starts_at: float
    done_at: float
    placed_at: float
    state: JobState = JobState.PROCESSING
    shown_form: SubmitForm | None = None
    answered: bool = False
    called_back: bool = False
    ended: threading.Event = field(default_factory=threading.Event)
    reads: dict[str, int] = field(default_factory=dict)
    fetches: int = 0
    deleted: bool = False

    def picture_urls(self) -> list[str]:
        """Where the pictures are, or will be."""
        folder = "temp" if self.submission.temp else "generations"
        suffix = "base64" if self.submission.base64 else "png"
        return [f"{self.base}/{folder}/{self.prefix}-{index}.{suffix}" for index in range(self.submission.samples)]
