"""Logs: events on stderr, as text on a terminal, else as JSON lines. Secrets are hidden and control characters escaped
here, so that nobody upstairs has to think of it."""

import logging
import re
import sys
from collections.abc import Iterable, MutableMapping
from typing import Any

import structlog

Entry = MutableMapping[str, Any]
LEAST_SECRET = 6
# A callback token: the attempt's number and 128 bits, wherever it stands. The number stays, as it helps to understand.
_token = re.compile(r"(?<![A-Za-z0-9_.-])(\d{1,6})\.[A-Za-z0-9_-]{22}(?![A-Za-z0-9_-])")
_callback_path = re.compile(r"(/callbacks/[^/\s\"']+/[^/\s\"']+/)(?:(\d{1,6})\.)?[^/\s\"'?#*]+")
_signed_query = re.compile(r"(X-Amz-(?:Signature|Credential|Security-Token)=)[^&\s\"']+", re.IGNORECASE)
_our_keys = re.compile(r"\b(wapp_|whsec_)[A-Za-z0-9_+/=-]{8,}")
_control = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_line_break = re.compile(r"[\n\t]")


def configure(*, level: str = "info", form: str | None = None, secrets: Iterable[str] = ()) -> None:
    """Send every log of this process, the standard library's too, to stderr. `form` is `text`, `json` or None: text on
    a terminal, else json. May be repeated; the last call wins."""
    terminal = sys.stderr.isatty()
    text = form == "text" if form else terminal
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    _install(_formatter(shared, text, terminal, Hide(secrets)), level)


def _formatter(shared: list[Any], text: bool, terminal: bool, hide: "Hide") -> logging.Formatter:
    renderer: Any = structlog.processors.JSONRenderer()
    if text:
        plain = structlog.dev.plain_traceback
        renderer = structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=plain, pad_event_to=20)
    processors = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        hide,
        *([_escape] if text else []),
        renderer,
    ]
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=processors)


def _install(formatter: logging.Formatter, level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    for noisy in ("urllib3", "requests", "PIL", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class Hide:
    """Replaces callback tokens, our keys and the given secrets in every text of an entry, however deep."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = sorted({s for s in secrets if len(s) >= LEAST_SECRET}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, _logger: Any, _method: str, entry: Entry) -> Entry:
        return {name: self._value(value) for name, value in entry.items()}

    def text(self, value: str) -> str:
        if self._known is not None:
            value = self._known.sub("***", value)
        value = _callback_path.sub(lambda m: f"{m[1]}{m[2] + '.' if m[2] else ''}***", value)
        value = _signed_query.sub(r"\1***", value)
        return _our_keys.sub(r"\1***", _token.sub(r"\1.***", value))

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self._value(key): self._value(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._value(inner) for inner in value]
        if value is None or isinstance(value, int | float):
            return value
        return self.text(str(value))


def _escape(_logger: Any, _method: str, entry: Entry) -> Entry:
    """One entry is one line on a terminal (a traceback excepted), and nothing in it can move the cursor."""
    return {name: _escaped(value, name) for name, value in entry.items()}


def _escaped(value: Any, name: str) -> Any:
    if not isinstance(value, str):
        return value
    value = _control.sub(lambda m: f"\\x{ord(m[0]):02x}", value)
    return value if name == "exception" else _line_break.sub(lambda m: {"\n": "\\n", "\t": "\\t"}[m[0]], value)
