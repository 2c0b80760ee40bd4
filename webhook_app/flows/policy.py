"""The rules of this installation, as the flows need them; made from the settings by `wiring`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from webhook_app.domain.estimates import Estimate
from webhook_app.domain.job import OnUnconfirmed


@dataclass(frozen=True, slots=True)
class Policy:
    """`attempts_allowed` counts submits that the provider took; `confirm_after` is how long an unconfirmed one waits
    for evidence at least; of those, `repeats_per_hour` may be repeated in an hour; `max_in_flight` is the number of
    slots; `host_known` says whether a picture's URL that only a callback named may be fetched; `expect` how long a
    job's kind takes, from memory."""

    attempts_allowed: int
    confirm_after: timedelta
    on_unconfirmed: OnUnconfirmed
    repeats_per_hour: int
    max_in_flight: int
    host_known: Callable[[str], bool]
    expect: Callable[[Mapping[str, Any]], Estimate | None] = lambda job: None
