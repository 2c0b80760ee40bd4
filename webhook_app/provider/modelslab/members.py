"""Single members of the provider's objects, in every form that was seen (the contract page, 2.1 to 2.4 and 3.2). Each
function takes anything and gives the value, or None for what says nothing."""

import math
import re
from typing import Any

import orjson

from webhook_app.provider.modelslab.body import INTEGERS, Object

MAX_MESSAGE = 1000
MAX_ID = 191
MAX_STATUS = 40
MAX_META_BYTES = 4096
MAX_META_TEXT = 300
MAX_SECONDS = 1e6
# Beyond it a float no longer names one integer.
EXACT = 2**53
# Ours, secret or personal; and `output` of a meta lists addresses where nothing may be yet.
NOT_META = frozenset({"key", "webhook", "track_id", "prompt", "init_image", "output", "future_links"})

_id_in_url = re.compile(r"[A-Za-z0-9_-]{1,191}")
_digits = re.compile(r"[0-9]{1,19}")


def status_of(answer: Object) -> str | None:
    """The status word in lower case."""
    status = answer.get("status")
    return (status.strip().lower()[:MAX_STATUS] or None) if isinstance(status, str) else None


def text_of(value: Any) -> str:
    """A text, or the texts of a bag (`{"prompt": ["The prompt field is required."]}`) in one line."""
    match value:
        case str():
            return value.strip()[:MAX_MESSAGE]
        case dict():
            return text_of(list(value.values()))
        case list():
            return " ".join(filter(None, map(text_of, value[:50])))[:MAX_MESSAGE]
        case _:
            return ""


def complaint(answer: Object) -> Any:
    """The member that says what is wrong, as it came: a text or a bag of texts; None when there is none."""
    members = (answer.get(name) for name in ("message", "messege", "error"))
    return next((member for member in members if text_of(member)), None)


def reason(answer: Object) -> str:
    """What to tell people. The tip is for them only: it decides nothing."""
    return text_of(complaint(answer)) or text_of(answer.get("tip"))


def identifier(value: Any) -> str | None:
    """An id as text: integers and texts are the same id to us."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        value = int(value)
    if not isinstance(value, int | str):
        return None
    text = str(value).strip()
    # Dots would climb in a path, and a longer one is none of the provider's.
    return text if 0 < len(text) <= MAX_ID and text.strip(".") else None


def provider_job_id(answer: Object) -> str | None:
    """`id`, `request_id`, the end of `fetch_result`, `meta.id`, in this order (3.2)."""
    return (
        identifier(answer.get("id"))
        or identifier(answer.get("request_id"))
        or _id_of_url(answer.get("fetch_result"))
        or identifier(_meta(answer).get("id"))
    )


def names_another(answer: Object, job_id: str, our_track_id: str) -> bool:
    """Whether the answer carries a track_id that is not ours, or ids of which none is this one."""
    if (track_id(answer) or our_track_id).lower() != our_track_id:
        return True
    meta = _meta(answer).get("id")
    ids = {identifier(answer.get("id")), identifier(answer.get("request_id")), identifier(meta)}
    ids = {*ids, _id_of_url(answer.get("fetch_result"))} - {None}
    return bool(ids) and job_id not in ids


def _id_of_url(url: Any) -> str | None:
    if not isinstance(url, str):
        return None
    last = url.strip().partition("?")[0].rstrip("/").rpartition("/")[2]
    return last if _id_in_url.fullmatch(last) and last != "fetch" else None


def track_id(answer: Object) -> str | None:
    """The track_id that the answer carries, as text: digits may come back as a number (1.6)."""
    return identifier(answer.get("track_id")) or identifier(_meta(answer).get("track_id"))


def number(value: Any) -> float | None:
    """A finite number of seconds, not negative; numeric texts too."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or len(str(value)) > 40:
        return None
    try:
        seconds = float(value)
    except ValueError:
        return None
    return min(seconds, MAX_SECONDS) if math.isfinite(seconds) and seconds >= 0 else None


def flag(value: Any) -> bool | None:
    """A switch as boolean, number or text; a list is one flag for each picture."""
    match value:
        case bool():
            return value
        case int() | float():
            return value != 0
        case str():
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(value.lower())
        case list():
            flags = [flag(item) for item in value[:10] if not isinstance(item, list)]
            return True if True in flags else (False if False in flags else None)
        case _:
            return None


def seed(answer: Object) -> int | None:
    """The seed really used, from `meta`: unsigned, more than 31 bits, at times as text."""
    for value in (_meta(answer).get("seed"), answer.get("seed")):
        found = _seed(value)
        if found is not None:
            return found
    return None


def _seed(value: Any) -> int | None:
    if isinstance(value, str):
        value = int(value) if _digits.fullmatch(value) else None
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if value >= 0 and value in INTEGERS else None


def _meta(answer: Object) -> Object:
    meta = answer.get("meta")
    return meta if isinstance(meta, dict) else {}


def meta_of(answer: Object) -> Object:
    """The echo of the parameters, small: no member of ours, short texts, 4 KiB in all. A job's answer carries it."""
    kept: Object = {}
    room = MAX_META_BYTES
    for name, value in _meta(answer).items():
        if name.lower() in NOT_META or isinstance(value, dict | list):
            continue
        small = value[:MAX_META_TEXT] if isinstance(value, str) else value
        room -= len(orjson.dumps({name: small}))
        if room < 0:
            break
        kept[name] = small
    return kept
