"""What an emulator can be told: one frozen value, checked when it is made. No behaviour here.

The table of fields below is the only one: command line, help and HTTP control are read off it."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import Field, asdict, dataclass, field, fields, replace
from functools import lru_cache
from typing import Any

from webhook_app.emulator.words import (
    CallbackHabit,
    Ending,
    ErrorStyle,
    EtaForm,
    FetchForm,
    IdForm,
    MessageForm,
    PictureFault,
    PictureKind,
    PictureTransfer,
    ProxyLinksForm,
    StatusForm,
    SubmitFault,
    SubmitForm,
    TrackIdForm,
    Word,
)


class OptionError(ValueError):
    """An option has no meaning; the text names it."""


def _option(default: Any, group: str, text: str, **more: Any) -> Any:
    """A field with what its users are told. `fixed`: bound at the start, not for a running emulator."""
    return field(default=default, metadata={"group": group, "help": text, **more})


def _mix(group: str, words: type[Word], text: str) -> Any:
    """A field that is one word (`once`) or weighted words (`once=0.9,never=0.1`); its default is the first word."""
    return _option(next(iter(words)).value, group, text, words=words)


SERVER, WORK, ANSWERS, CALLBACKS, READS = "Server", "Work", "Answers to submits", "Callbacks", "Fetches and pictures"
SHAPES = "Shapes of all bodies"


@dataclass(frozen=True, slots=True)
class EmulatorOptions:
    """Every knob. Names that end in `_s` are seconds; None is: not set."""

    host: str = _option("127.0.0.1", SERVER, "Address to listen on.", fixed=True)
    port: int = _option(0, SERVER, "Port to listen on; 0 takes a free one.", fixed=True)
    tls_certificate: str | None = _option(None, SERVER, "PEM file; serves https with it.", fixed=True, file=True)
    tls_key: str | None = _option(None, SERVER, "PEM file with the certificate's key.", fixed=True, file=True)
    key: str | None = _option(None, SERVER, "The only API key to accept. Not set: any.", envvar="EMULATOR_KEY")
    remember: int = _option(100_000, SERVER, "Jobs, repeat counts and ledger entries that are kept.", fixed=True)

    seed: int = _option(0, WORK, "What happens to a job follows from this, its input and its repetition.")
    delay_s: float = _option(2.0, WORK, "Seconds that a picture takes.")
    parallel: int = _option(4, WORK, "Pictures made at the same time; the others queue.")
    ending: str = _mix(WORK, Ending, "How accepted jobs end.")

    submit_form: str = _mix(ANSWERS, SubmitForm, "How submits are answered.")
    wait_s: float = _option(1.0, ANSWERS, "Seconds that a submit waits for its picture before 'processing'.")
    error_style: str = _option("http", ANSWERS, "Real codes, or always 200.", choice=ErrorStyle)
    submit_fault: str = _mix(ANSWERS, SubmitFault, "What goes wrong with submits.")
    silence_s: float = _option(90.0, ANSWERS, "Seconds that 'silent' and 'headers_only' hold a connection at most.")
    slow_s: float = _option(90.0, ANSWERS, "Seconds before the answer of 'slow'.")
    max_queued: int = _option(0, ANSWERS, "Unfinished jobs before 429; 0 is no limit. Public plans: 5, 10, 15.")
    burst_every: int = _option(0, ANSWERS, "Accepted submits between two bursts of 429; 0 is no bursts.")
    burst_length: int = _option(0, ANSWERS, "Submits refused in each burst; 0 is no bursts.")
    retry_after_s: int = _option(30, ANSWERS, "Seconds told with a 429.")

    callback: str = _mix(CALLBACKS, CallbackHabit, "What the webhook hears.")
    callback_delay_s: float = _option(0.0, CALLBACKS, "Seconds from the picture to its callback.")
    callback_late_s: float = _option(10.0, CALLBACKS, "Seconds more for 'late'.")

    fetch_form: str = _mix(READS, FetchForm, "What a fetch is answered.")
    picture_404s: int = _option(0, READS, "Reads of each finished picture that answer 404 first.")
    picture_fault: str = _mix(READS, PictureFault, "What goes wrong with the first reads of a picture.")
    picture_fault_reads: int = _option(3, READS, "Reads of each finished picture that it goes wrong for.")
    picture_kind: str = _mix(READS, PictureKind, "What the bytes of a picture are.")
    picture_transfer: str = _mix(READS, PictureTransfer, "How a picture comes over the wire.")
    drip_bytes_s: int = _option(1, READS, "Bytes a second of 'drip'; 0 sends the headers alone.")
    redirects_length: int = _option(4, READS, "Redirects before the picture of 'redirects'.")
    lifetime_s: float = _option(86_400.0, READS, "Seconds from its submit after which a picture is gone.")

    message_form: str = _mix(SHAPES, MessageForm, "How messages are told.")
    id_form: str = _mix(SHAPES, IdForm, "How ids are told.")
    status_form: str = _mix(SHAPES, StatusForm, "Which words a status has.")
    eta_form: str = _mix(SHAPES, EtaForm, "How etas are told.")
    proxy_links_form: str = _mix(SHAPES, ProxyLinksForm, "How proxy_links are told.")
    track_id_form: str = _mix(SHAPES, TrackIdForm, "How the track_id comes back.")

    def __post_init__(self) -> None:
        for one in fields(self):
            _check_kind(one.name, getattr(self, one.name), one.default)
        for name, words in MIXES.items():
            parse_mix(name, getattr(self, name), words)
        if self.error_style not in list(ErrorStyle):
            raise OptionError(f"error_style: {self.error_style!r} is not one of {', '.join(ErrorStyle)}")
        if self.parallel < 1 or self.remember < 1 or self.drip_bytes_s < 1:
            raise OptionError("parallel, remember and drip_bytes_s: must be at least 1")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise OptionError("tls_certificate and tls_key: one needs the other")


def knobs() -> Iterator[Field[Any]]:
    """The fields, in the order of the groups."""
    yield from fields(EmulatorOptions)


MIXES: Mapping[str, type[Word]] = {one.name: one.metadata["words"] for one in knobs() if "words" in one.metadata}


def _check_kind(name: str, value: object, default: object) -> None:
    """Numbers are finite numbers and none but the seed is negative; texts are texts, and may be unset as None."""
    if default is None and value is not None and (not isinstance(value, str) or not value):
        raise OptionError(f"{name}: must be a non-empty string or null")
    if isinstance(default, str) and not isinstance(value, str):
        raise OptionError(f"{name}: must be a string")
    if not isinstance(default, int | float):
        return
    kind = int if isinstance(default, int) else int | float
    if isinstance(value, bool) or not isinstance(value, kind) or not math.isfinite(value):
        raise OptionError(f"{name}: must be {'a whole number' if kind is int else 'a number'}")
    if value < 0 and name != "seed":
        raise OptionError(f"{name}: must not be negative")


@lru_cache(maxsize=256)
def parse_mix(name: str, text: str, words: type[Word]) -> tuple[tuple[str, float], ...]:
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
    known = {one.name for one in knobs() if "fixed" not in one.metadata}
    unknown = sorted(set(changes) - known)
    if unknown:
        raise OptionError(f"{', '.join(unknown)}: cannot be set; choose from {', '.join(sorted(known))}")
    return replace(options, **changes)


def shown(options: EmulatorOptions) -> dict[str, Any]:
    """The options for display: the key itself never leaves, only whether one is demanded."""
    values = asdict(options)
    del values["key"]
    return {**values, "key_demanded": options.key is not None}
