"""The chain of the log: how an event is written down to be hashed, and what its hash is. Anybody can do the same.

The hash of an event is the SHA-256, in lower-case hexadecimal, of one JSON text in UTF-8: an object with exactly the
members of `HASHED`, in the canonical form of RFC 8785 (JCS). `previous_hash` is the hash of the event whose `seq` is
one less, `GENESIS` for the first. Instants are written as in every answer: RFC 3339 in UTC with `Z`, six digits of a
second or, where they are all zero, none.
"""

import hashlib
import math
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any

GENESIS = "0" * 64
HASHED = (
    "actor",
    "batch_id",
    "client_id",
    "created_at",
    "data",
    "event_id",
    "previous_hash",
    "seq",
    "track_id",
    "type",
)
SMALLEST_PLAIN, FIRST_WITH_EXPONENT = 1e-6, 1e21


def hash_of(event: Mapping[str, Any]) -> str:
    """The event's hash. It has the members of `HASHED`; `created_at` may be an aware datetime."""
    return hashlib.sha256(canonical({name: event[name] for name in HASHED}).encode()).hexdigest()


def canonical(value: Any) -> str:
    """JSON by RFC 8785: members sorted by their UTF-16 code units, no spaces, numbers as ECMAScript writes them. Whole
    numbers are written in full, however large; NaN and infinity, which JSON cannot say, raise `ValueError`."""
    if isinstance(value, str):
        return encode_basestring(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, datetime):
        return encode_basestring(instant(value))
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{encode_basestring(name)}:{canonical(value[name])}" for name in _sorted(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(canonical, value)) + "]"
    raise TypeError(f"JSON has no {type(value).__name__}")


def _sorted(names: Mapping[str, Any]) -> list[str]:
    """By UTF-16 code units, which is Python's own order but for names with characters beyond the first plane."""
    if "".join(names).isascii():
        return sorted(names)
    return sorted(names, key=lambda name: name.encode("utf-16-be", "surrogatepass"))


def instant(at: datetime) -> str:
    """RFC 3339 in UTC with `Z`, as answers show it."""
    return at.isoformat().replace("+00:00", "Z")


def _number(value: float) -> str:
    """The shortest digits that mean this number, as in Python; ECMAScript begins with exponents elsewhere."""
    if not math.isfinite(value):
        raise ValueError("not a number of JSON")
    if value == 0:
        return "0"
    if SMALLEST_PLAIN <= abs(value) < FIRST_WITH_EXPONENT:
        return format(Decimal(repr(value)), "f").removesuffix(".0")
    return repr(value).replace("e-0", "e-")
