"""What an emulator can be told: one frozen value, checked when it is made. No behaviour here."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any


class SubmitForm(StrEnum):
    """How the answer to a submit looks. `auto`: as documented, success or processing by time and `instant_response`."""

    AUTO = "auto"
    PROCESSING = "processing"
    SUCCESS = "success"
    SUCCESS_NULL_ID = "success_null_id"
    SUCCESS_INT_ID = "success_int_id"
    FAILED = "failed"
    ERROR = "error"


class Ending(StrEnum):
    """How an accepted generation ends."""

    SUCCESS = "success"
    FAILED = "failed"


class CallbackHabit(StrEnum):
    """How often the callback of a finished job is sent."""

    ONCE = "once"
    TWICE = "twice"
    NEVER = "never"


class ErrorStyle(StrEnum):
    """`http`: real status codes, as the current documents say. `legacy`: HTTP 200 for everything, as observed."""

    HTTP = "http"
    LEGACY = "legacy"


class OptionError(ValueError):
    """An option has no meaning; the text names it."""


@dataclass(frozen=True, slots=True)
class EmulatorOptions:
    """Every knob. Spans are seconds. A `mix` is one word (`once`) or weighted words (`once=0.9,never=0.1`).

    `key` None accepts any key. `port` 0 takes a free one. `max_queued` 0 means no limit. `wait_s` is how long a submit
    without `instant_response` is held before it is answered "processing". `picture_404s` reads of each finished
    picture answer 404 first. `remember` bounds jobs, repeat counts and ledger entries that are kept.
    """

    host: str = "127.0.0.1"
    port: int = 0
    key: str | None = None
    seed: int = 0
    delay_s: float = 2.0
    wait_s: float = 1.0
    parallel: int = 4
    max_queued: int = 0
    retry_after_s: int = 30
    submit_form: str = "auto"
    ending: str = "success"
    callback: str = "once"
    callback_delay_s: float = 0.0
    picture_404s: int = 0
    error_style: str = "http"
    remember: int = 100_000

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_number(field.name, getattr(self, field.name), field.default)
        for name, words in MIXES.items():
            parse_mix(name, getattr(self, name), words)
        if self.error_style not in list(ErrorStyle):
            raise OptionError(f"error_style: {self.error_style!r} is not one of {', '.join(ErrorStyle)}")
        if self.key is not None and (not isinstance(self.key, str) or not self.key):
            raise OptionError("key: must be a non-empty string or null")
        if self.parallel < 1 or self.remember < 1:
            raise OptionError("parallel and remember: must be at least 1")


MIXES: Mapping[str, type[StrEnum]] = {"submit_form": SubmitForm, "ending": Ending, "callback": CallbackHabit}
FIXED = frozenset({"host", "port", "remember"})  # bound to the socket or sized at the start: not for a running emulator


def _check_number(name: str, value: object, default: object) -> None:
    """Numbers are finite numbers and none but the seed is negative; texts are texts."""
    if isinstance(default, str) and not isinstance(value, str):
        raise OptionError(f"{name}: must be a string")
    if not isinstance(default, int | float):
        return
    kind = int if isinstance(default, int) else int | float
    if isinstance(value, bool) or not isinstance(value, kind) or not math.isfinite(value):
        raise OptionError(f"{name}: must be {'a whole number' if kind is int else 'a number'}")
    if value < 0 and name != "seed":
        raise OptionError(f"{name}: must not be negative")


def parse_mix(name: str, text: str, words: type[StrEnum]) -> tuple[tuple[str, float], ...]:
    """`"once=9,never=1"` as ordered (word, share) pairs whose shares sum to 1. Raises OptionError."""
    weights: dict[str, float] = {}
    for part in text.split(","):
        word, _, weight = part.strip().partition("=")
        if word not in list(words):
            raise OptionError(f"{name}: {word!r} is not one of {', '.join(words)}")
        weights[word] = weights.get(word, 0.0) + _weight(name, weight or "1")
    total = sum(weights.values())
    if total <= 0:
        raise OptionError(f"{name}: all weights are zero")
    return tuple((word, weight / total) for word, weight in weights.items())


def _weight(name: str, text: str) -> float:
    try:
        weight = float(text)
    except ValueError as error:
        raise OptionError(f"{name}: {text!r} is not a number") from error
    if not math.isfinite(weight) or weight < 0:
        raise OptionError(f"{name}: a weight must be finite and not negative")
    return weight


def changed(options: EmulatorOptions, changes: Mapping[str, Any]) -> EmulatorOptions:
    """The options with `changes` applied, for a running emulator. Raises OptionError for unknown or fixed names."""
    known = {field.name for field in fields(options)} - FIXED
    unknown = sorted(set(changes) - known)
    if unknown:
        raise OptionError(f"{', '.join(unknown)}: cannot be set; choose from {', '.join(sorted(known))}")
    return replace(options, **changes)


def shown(options: EmulatorOptions) -> dict[str, Any]:
    """The options for display: the key itself never leaves, only whether one is demanded."""
    values = asdict(options)
    del values["key"]
    return {**values, "key_demanded": options.key is not None}
