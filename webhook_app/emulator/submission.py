"""A submit's body, read and checked as the provider does: casts what it casts, refuses what it documents."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from webhook_app.emulator import refusals

SMALLEST, LARGEST, STEP = 256, 1024, 8
MOST_SAMPLES = 4
TRUE_WORDS = frozenset({"yes", "true", "1"})
NSFW = re.compile(r"\bnsfw\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Submission:
    """An accepted body. `seed` None asks for a random one; `track_id` is whatever JSON value was sent."""

    prompt: str
    negative_prompt: str
    width: int
    height: int
    samples: int
    seed: int | None
    safety_checker: bool
    instant_response: bool
    base64: bool
    temp: bool
    model_id: str
    webhook: str | None
    track_id: Any
    init_image: str | None
    strength: float | None

    @property
    def flagged(self) -> bool:
        """True when the safety checker is on and finds the word NSFW: the picture is then a black one."""
        return self.safety_checker and NSFW.search(self.prompt) is not None

    def digest(self) -> str:
        """Names the input: equal for bodies that ask for the same work, whoever is to be told about it."""
        skipped = {"webhook", "track_id"}
        asked = {name: getattr(self, name) for name in self.__slots__ if name not in skipped}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def check_key(body: Mapping[str, Any], wanted: str | None) -> None:
    """The key stands in the body. `wanted` None takes any. Raises Refusal."""
    key = body.get("key")
    if not isinstance(key, str) or not key.strip():
        raise refusals.no_key()
    if wanted is not None and key != wanted:
        raise refusals.wrong_key()


def read_submission(body: Mapping[str, Any], *, from_image: bool) -> Submission:
    """Check and cast a text2img (or, `from_image`, img2img) body. Raises Refusal for the first fault."""
    webhook, negative = body.get("webhook"), body.get("negative_prompt")
    return Submission(
        prompt=_prompt(body),
        negative_prompt=negative if isinstance(negative, str) and negative else "low quality",
        width=_side(body, "width"),
        height=_side(body, "height"),
        samples=_samples(body),
        seed=_seed(body),
        safety_checker=_flag(body, "safety_checker"),
        instant_response=_flag(body, "instant_response"),
        base64=_flag(body, "base64"),
        temp=_flag(body, "temp"),
        model_id=str(body.get("model_id") or "flux"),
        webhook=webhook if isinstance(webhook, str) and webhook else None,
        track_id=body.get("track_id"),
        init_image=_init_image(body) if from_image else None,
        strength=_strength(body) if from_image else None,
    )


def _prompt(body: Mapping[str, Any]) -> str:
    prompt = body.get("prompt")
    if prompt is None or prompt == "":
        raise refusals.invalid("prompt", "is required", "is required")
    if not isinstance(prompt, str):
        raise refusals.invalid("prompt", "must be a string", "must be a string")
    if not prompt.strip():
        raise refusals.invalid("prompt", "is required", "is required")
    return prompt


def _side(body: Mapping[str, Any], name: str) -> int:
    side = _whole(body, name, default=512)
    if side < SMALLEST or side > LARGEST:
        observed = f"must be between {SMALLEST} and {LARGEST}"
        raise refusals.invalid(name, f"must be between {SMALLEST} and {LARGEST}", observed)
    if side % STEP:
        raise refusals.invalid(name, f"must be divisible by {STEP}", f"must be a multiple of {STEP}")
    return side


def _samples(body: Mapping[str, Any]) -> int:
    samples = _whole(body, "samples", default=1)
    if not 1 <= samples <= MOST_SAMPLES:
        rule = f"must be between 1 and {MOST_SAMPLES}"
        raise refusals.invalid("samples", rule, rule)
    return samples


def _seed(body: Mapping[str, Any]) -> int | None:
    """Wrapped into 32 bits: that is what every captured echo shows."""
    if body.get("seed") in (None, ""):
        return None
    return _whole(body, "seed", default=0) % 2**32


def _strength(body: Mapping[str, Any]) -> float:
    rule = "must be between 0 and 1"
    value = body.get("strength")
    try:
        strength = 0.7 if value is None else float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise refusals.invalid("strength", rule, rule) from error
    if not 0 <= strength <= 1:
        raise refusals.invalid("strength", rule, rule)
    return strength


def _init_image(body: Mapping[str, Any]) -> str:
    """An http(s) URL. It is not fetched: an emulator must work without a network."""
    image = body.get("init_image")
    if image is None or image == "":
        raise refusals.invalid("init_image", "is required", "is required")
    if not isinstance(image, str) or not image.startswith(("http://", "https://")):
        raise refusals.unfetchable_image()
    return image


def _whole(body: Mapping[str, Any], name: str, *, default: int) -> int:
    """A whole number, or digits in a string, as the vendor's own example sends them."""
    value = body.get(name)
    if value is None or value == "":
        return default
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,20}\s*", value):
        return int(value)
    raise refusals.invalid(name, "must be an integer", "must be an integer")


def _flag(body: Mapping[str, Any], name: str) -> bool:
    """A JSON boolean, "yes"/"no", "true"/"false", 0 or 1; anything else counts as no."""
    value = body.get(name)
    return value.strip().lower() in TRUE_WORDS if isinstance(value, str) else value is True or value == 1
