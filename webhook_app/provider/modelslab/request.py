"""What we send: a job's input as the provider's request body (the contract page, section 1)."""

import json
from typing import Any
from urllib.parse import quote

from webhook_app.provider.modelslab.members import flag
from webhook_app.provider.port import Submission

OURS = frozenset({"key", "webhook", "track_id"})
# Documented as numbers and as booleans; the pages' examples send texts, and one strict endpoint refused those (1.4).
INTEGERS = frozenset({"width", "height", "samples", "seed", "request_id"})
BOOLEANS = frozenset({"safety_checker", "instant_response", "base64", "temp"})


def build_request(key: str, submission: Submission) -> dict[str, Any]:
    """The body of one submit. Unset `instant_response` becomes true: a short read, and an id to poll with (5.3)."""
    asked = {name: _typed(name, value) for name, value in submission.input.items() if name not in OURS}
    body = {"key": key, "instant_response": True}
    body |= {name: value for name, value in asked.items() if value is not None}
    body["track_id"] = submission.track_id
    if submission.callback_url is not None:
        body["webhook"] = submission.callback_url
    return body


def build_deletion(key: str, provider_job_id: str) -> dict[str, Any]:
    """The body of a request to delete a job's pictures; the id is documented as a number."""
    return {"key": key, "request_id": _typed("request_id", provider_job_id), "type": "image"}


def _typed(name: str, value: Any) -> Any:
    if name in INTEGERS and isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    if name in BOOLEANS:
        known = flag(value)
        return value if known is None else known
    return value


def encode(body: dict[str, Any]) -> bytes:
    """JSON in ASCII: whatever a prompt holds, the bytes are valid."""
    return json.dumps(body, separators=(",", ":")).encode("ascii")


def submit_url(base_url: str, model: str) -> str:
    """`{base}/flux/text2img`."""
    return f"{base_url.rstrip('/')}/{quote(model, safe='/')}"


def delete_url(base_url: str) -> str:
    """`/api/v3/delete_image` beside the enterprise base: it is no route of that (1.5)."""
    return f"{base_url.rstrip('/').removesuffix('/api/v1/enterprise')}/api/v3/delete_image"


def fetch_url(base_url: str, model: str, provider_job_id: str) -> str:
    """`{base}/flux/fetch/{id}`: the family is the model's first segment."""
    family = model.partition("/")[0]
    return f"{base_url.rstrip('/')}/{quote(family, safe='')}/fetch/{quote(provider_job_id, safe='')}"
