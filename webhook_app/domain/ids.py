"""Names for things: the job's UUIDv7 and the prefixed random ids of everything else."""

import base64
import os
import re
import time
import uuid
from collections import deque

TRACK_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
API_KEY_PREFIX = "wapp_"
# Any byte to a letter of base32, each letter from eight bytes.
TO_BASE32 = b"abcdefghijklmnopqrstuvwxyz234567" * 8
RANDOM_BYTES, DRAWN_AT_ONCE = 26, 128
# Each draw from the system is a chance for every other thread to take over: hundreds of them in a batch of callbacks.
_drawn: deque[bytes] = deque()
os.register_at_fork(after_in_child=_drawn.clear)


def new_track_id() -> str:
    """A UUIDv7 (RFC 9562, 5.7): 48 bits of milliseconds, then 74 random bits. Rows inserted together lie together."""
    milliseconds = time.time_ns() // 1_000_000
    value = int.from_bytes(_random_bytes()[:10]) | milliseconds << 80
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))


def is_track_id(text: str) -> bool:
    """True for the canonical lower-case form of a UUIDv7, the only form that we hand out."""
    return TRACK_ID.fullmatch(text) is not None


def new_id(prefix: str) -> str:
    """A prefixed id with 130 random bits, `prefix` without its underscore: `new_id("img")`."""
    return f"{prefix}_{_random_bytes().translate(TO_BASE32).decode()}"


def is_id(prefix: str, text: str) -> bool:
    """True for what `new_id` makes with this prefix: nothing else need be looked up."""
    return re.fullmatch(rf"{prefix}_[a-z2-7]{{26}}", text) is not None


def new_api_key() -> str:
    """A fresh API key: `wapp_` and 43 characters that carry 256 random bits. It is shown once and stored as SHA-256."""
    return API_KEY_PREFIX + base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")


def _random_bytes() -> bytes:
    """`RANDOM_BYTES` of the system's, which nobody else gets."""
    try:
        return _drawn.pop()
    except IndexError:
        fresh = os.urandom(RANDOM_BYTES * DRAWN_AT_ONCE)
        _drawn.extend(fresh[at : at + RANDOM_BYTES] for at in range(RANDOM_BYTES, len(fresh), RANDOM_BYTES))
        return fresh[:RANDOM_BYTES]
