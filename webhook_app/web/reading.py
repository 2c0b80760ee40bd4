"""What requests say, read strictly: JSON bodies, query strings and the `Prefer` header. Every fault has a pointer."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

from flask import current_app, request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from webhook_app.domain.errors import InvalidField, MalformedJson, TooLarge, UnknownField, UnsupportedMediaType

LARGEST_BODY = 1 << 20
DEEPEST = 32
CONTEXT = "validation"  # The extension that holds what models are validated against, beside the value.
LARGEST_INTEGER = 2**63 - 1
PREFERS_WAIT = re.compile(r'(?:^|,)\s*wait\s*=\s*"?(\d{1,9})"?\s*(?=[,;]|$)', re.IGNORECASE)
Model = TypeVar("Model", bound=BaseModel)
Fault = dict[str, str]


def pointer(path: Sequence[str | int]) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def raw_body(limit: str = "A body may have 1 MiB.", *, largest: int = LARGEST_BODY) -> bytes:
    """The body as it came. Raises `TooLarge`, which says the `limit`. One in chunks has no length to look at
    beforehand, and werkzeug alone would cut it off without a word."""
    request.max_content_length = largest + 1
    try:
        body = request.get_data()
    except RequestEntityTooLarge:
        raise TooLarge(limit) from None
    if len(body) > largest:
        raise TooLarge(limit)
    return body


def whole_body(limit: str = "A body may have 1 MiB.", *, largest: int = LARGEST_BODY) -> bytes:
    """The body, which is refused where it was cut short."""
    body = raw_body(limit, largest=largest)
    if len(body) < (request.content_length or 0):
        raise MalformedJson("The body is shorter than its Content-Length says.")
    return body


def json_body(limit: str = "A body may have 1 MiB.", *, largest: int = LARGEST_BODY) -> Any:
    """The request's JSON; refused where it is ambiguous (a member twice), not JSON (NaN), or cannot be stored."""
    if request.mimetype != "application/json" and not re.fullmatch(r"application/[\w.-]+\+json", request.mimetype):
        raise UnsupportedMediaType("Send JSON, with Content-Type: application/json.")
    return parse(whole_body(limit, largest=largest))


def optional_json_body() -> Any:
    """The request's JSON, an empty object without any."""
    return json_body() if raw_body() else {}


def parse(raw: bytes) -> Any:
    """Strict JSON. Raises `MalformedJson`, and `InvalidField` for text with NUL or lone surrogates and huge numbers."""
    try:
        value = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite
        )
    except UnicodeDecodeError as error:
        raise MalformedJson("The body is not UTF-8.") from error
    except (ValueError, RecursionError) as error:
        raise MalformedJson(f"The body is not valid JSON: {_shown(error)}") from error
    refuse([{"pointer": pointer(path), "message": message} for path, message in _unstorable(value, ())])
    return value


def _shown(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}, column {error.colno}."
    return "it is nested too deeply." if isinstance(error, RecursionError) else f"{error}."[:200]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object has the same member twice")
    return members


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _unstorable(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, str):
        if "\0" in value or _has_lone_surrogate(value):
            yield path, "Text must be valid Unicode without NUL."
    elif isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        yield path, "Whole numbers must fit into 64 bits."
    elif isinstance(value, (dict, list)):
        if len(path) >= DEEPEST:
            yield path, f"Values may be nested at most {DEEPEST} deep."
            return
        for key, member in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(key, str) and ("\0" in key or _has_lone_surrogate(key)):
                yield path, "Names must be valid Unicode without NUL."
            else:
                yield from _unstorable(member, (*path, key))


def _has_lone_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def validated(model: type[Model], value: Any, *, at: tuple[str, ...] = ()) -> Model:
    """The value as this model. Raises `UnknownField` when unknown members are all that is wrong, else `InvalidField`;
    either names every fault."""
    try:
        return model.model_validate(value, context=current_app.extensions.get(CONTEXT) if current_app else None)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        unknown = all(fault["type"] == "extra_forbidden" for fault in found)
        faults = [{"pointer": pointer((*at, *fault["loc"])), "message": _message(fault)} for fault in found]
        refuse(faults, unknown=unknown)
        raise AssertionError("a validation error without errors") from error


def _message(fault: Mapping[str, Any]) -> str:
    match fault["type"]:
        case "extra_forbidden":
            return "This member is not known here."
        case "missing":
            return "This member is required."
        case _:
            message = str(fault["msg"]).removeprefix("Value error, ")
            return message if message.endswith(".") else message + "."


def refuse(faults: list[Fault], *, unknown: bool = False) -> None:
    """Raise for the faults, if there are any."""
    if not faults:
        return
    first = faults[0]
    more = f" ({len(faults) - 1} more)" if len(faults) > 1 else ""
    error = (UnknownField if unknown else InvalidField)(f"{first['pointer'] or 'The body'}: {first['message']}{more}")
    error.errors = faults
    raise error


def query(model: type[Model], *, leaving: str | None = None) -> Model:
    """The query string as this model: a member whose type is a list may be repeated, any other may not. Pointers
    are made of the parameter's name. Parameters that begin with `leaving` are left to the caller."""
    lists = _lists_of(model)
    value: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, given in request.args.lists() if request.query_string else ():
        if any("\0" in text or _has_lone_surrogate(text) for text in [name, *given]):
            faults.append({"pointer": pointer((name,)), "message": "Text must be valid UTF-8 without NUL."})
        elif leaving is not None and name.startswith(leaving):
            continue
        elif name in lists:
            value[name] = given
        elif len(given) > 1:
            faults.append({"pointer": pointer((name,)), "message": "This parameter may be given once."})
        else:
            value[name] = given[0]
    refuse(faults)
    return validated(model, value)


@cache
def _lists_of(model: type[BaseModel]) -> frozenset[str]:
    return frozenset(name for name, field in model.model_fields.items() if _is_list(field.annotation))


def _is_list(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", annotation) in (list, tuple)


def preferred_wait_s() -> int | None:
    """The `wait` of the `Prefer` header (RFC 7240) in seconds; None without one, or where it cannot be understood."""
    preferences = request.headers.get("Prefer")  # The server has joined several of them to one.
    found = PREFERS_WAIT.search(preferences) if preferences else None
    return None if found is None else int(found.group(1))
