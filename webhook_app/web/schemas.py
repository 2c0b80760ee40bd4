"""What clients may send to make a job: the models that validate it, and that `/openapi.json` shows."""

import re
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, urlsplit

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema

from webhook_app.domain.addresses import may_reach
from webhook_app.domain.errors import ProblemError
from webhook_app.domain.events import EventType
from webhook_app.web import reading

DEFAULT_MODEL: Literal["flux/text2img"] = "flux/text2img"
LONGEST_PROMPT = 10_000
LONGEST_URL = 2_048
LARGEST_METADATA = 4_096
MOST_JOBS = 1_000
LARGEST_SEED = 2**32 - 1
WHOLE = re.compile(r"-?[0-9]{1,19}")
DECIMAL = re.compile(r"-?[0-9]{1,19}(\.[0-9]{1,19})?")
SWITCHES = {"yes": True, "true": True, "no": False, "false": False}
MAY_NAME = "may_name"  # In the context of a validation: what `PRIVATE_WEBHOOK_HOSTS` allows.
LOCAL_NAMES = ("localhost", "local", "internal", "localdomain")


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


def _whole(value: Any) -> Any:
    """JSON knows one kind of number: 512.0 is 512."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def whole_or_text(value: Any) -> Any:
    """Numbers may come as text."""
    return int(value) if isinstance(value, str) and WHOLE.fullmatch(value) else _whole(value)


def _number_or_text(value: Any) -> Any:
    return float(value) if isinstance(value, str) and DECIMAL.fullmatch(value) else value


def _switch(value: Any) -> Any:
    return SWITCHES.get(value.lower(), value) if isinstance(value, str) else value


def _multiple_of_8(value: int) -> int:
    if value % 8:
        raise ValueError("Must be a multiple of 8.")
    return value


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("Must not be blank.")
    return value


def split_url(value: str) -> SplitResult:
    """The URL's parts. Raises ValueError for anything that two readers might read differently."""
    if not value.isprintable() or " " in value or "\\" in value or len(value) > LONGEST_URL:
        raise ValueError(f"Must be a URL of at most {LONGEST_URL} characters without spaces.")
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError("Must be a valid URL.") from None
    if not parts.hostname or port == 0:
        raise ValueError("Must be a URL with a host.")
    if parts.username is not None or parts.password is not None:
        raise ValueError("Must not hold a user name or password.")
    return parts


def _picture_url(value: str) -> str:
    parts = split_url(value)
    if parts.scheme not in ("https", "http"):
        raise ValueError("Must be an https or http URL.")
    if is_private(parts.hostname or ""):
        raise ValueError("Must be at a public host.")
    return value


def _webhook_url(value: str, info: ValidationInfo) -> str:
    parts = split_url(value)
    if parts.scheme in ("https", "http") and (info.context or {}).get(MAY_NAME, _nobody)(value):
        return value
    if parts.scheme != "https":
        raise ValueError("Must be an https URL.")
    if is_private(parts.hostname or ""):
        raise ValueError("Must be at a public host.")
    return value


def _nobody(_url: str) -> bool:
    return False


def is_private(host: str) -> bool:
    """Whether the host is a literal address that is not public, however it is spelled, or a name that is always local.
    Names are resolved, and judged again, when something is sent there."""
    labels = host.lower().rstrip(".").split(".")
    if ":" in host or labels[-1].isdigit() or re.fullmatch(r"0x[0-9a-f]*", labels[-1]):
        # 127.1, 0x7f000001, a scoped address are none here: other readers would make an address of them.
        return not may_reach(host)
    return labels[-1] in LOCAL_NAMES or not host.isascii() or labels == [""]


def _small(value: dict[str, Any]) -> dict[str, Any]:
    if len(orjson.dumps(value)) > LARGEST_METADATA:
        raise ValueError(f"Must be at most {LARGEST_METADATA} bytes as JSON.")
    return value


def _or_text(schema: dict[str, Any], pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [schema, {"type": "string", "pattern": pattern}]})


Side = Annotated[
    int,
    BeforeValidator(whole_or_text),
    Field(ge=256, le=1024),
    AfterValidator(_multiple_of_8),
    _or_text({"type": "integer", "minimum": 256, "maximum": 1024, "multipleOf": 8}, r"^\d+$"),
]
Samples = Annotated[
    int,
    BeforeValidator(whole_or_text),
    Field(ge=1, le=4),
    _or_text({"type": "integer", "minimum": 1, "maximum": 4}, "^[1-4]$"),
]
Seed = Annotated[
    int,
    BeforeValidator(whole_or_text),
    Field(ge=0, le=LARGEST_SEED),
    _or_text({"type": "integer", "minimum": 0, "maximum": LARGEST_SEED}, r"^\d+$"),
]
Strength = Annotated[
    float,
    BeforeValidator(_number_or_text),
    Field(ge=0, le=1),
    _or_text({"type": "number", "minimum": 0, "maximum": 1}, r"^\d+(\.\d+)?$"),
]
Switch = Annotated[
    bool, BeforeValidator(_switch), WithJsonSchema({"anyOf": [{"type": "boolean"}, {"enum": ["yes", "no"]}]})
]
Whole = Annotated[int, BeforeValidator(_whole)]
Prompt = Annotated[str, Field(min_length=1, max_length=LONGEST_PROMPT), AfterValidator(_not_blank)]
Url = WithJsonSchema({"type": "string", "format": "uri", "maxLength": LONGEST_URL})
PictureUrl = Annotated[str, AfterValidator(_picture_url), Url]
WebhookUrl = Annotated[str, AfterValidator(_webhook_url), Url]
EventName = Annotated[EventType, Field(strict=False)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_not_blank)]
Tag = Annotated[str, Field(min_length=1, max_length=64)]
Metadata = Annotated[dict[str, Any], AfterValidator(_small)]


def _without_provider_defaults(schema: dict[str, Any]) -> None:
    for name, member in schema["properties"].items():
        if name != "samples":
            member.pop("default", None)


class TextToImageInput(Strict):
    """The provider's parameters; what is not said is left to it, but for `samples` and the seed, which is drawn.
    Numbers may be text, switches "yes" or "no"."""

    model_config = ConfigDict(json_schema_extra=_without_provider_defaults)

    prompt: Prompt
    negative_prompt: Annotated[str, Field(max_length=LONGEST_PROMPT)] | None = None
    width: Side = 512
    height: Side = 512
    samples: Samples = 1
    seed: Seed | None = None
    safety_checker: Switch = False
    instant_response: Switch = True
    base64: Switch = False


class ImageToImageInput(TextToImageInput):
    """As text to image, and the picture to start from; `strength` 1 leaves nothing of it."""

    init_image: PictureUrl
    strength: Strength = 0.7
    temp: Switch = False


class JobBody(Strict):
    """What every request says beside its model and input. `timeout_s` not given is the installation's."""

    provider: Literal["modelslab"] = "modelslab"
    reference: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    webhook: WebhookUrl | None = None
    webhook_events: Annotated[list[EventName], Field(min_length=1)] | None = None
    metadata: Metadata = {}
    tags: Annotated[list[Tag], Field(max_length=20)] = []
    priority: Annotated[Whole, Field(ge=-100, le=100)] = 0
    timeout_s: Annotated[Whole, Field(ge=1, le=86_400)] | None = None


def _shown(example: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [example]})


class TextToImageJob(JobBody):
    """A request for pictures from a text."""

    model_config = _shown({"input": {"prompt": "An astronaut riding a horse", "width": 768, "height": 1024}})

    model: Literal["flux/text2img"] = DEFAULT_MODEL
    input: TextToImageInput


class ImageToImageJob(JobBody):
    """A request for pictures from a picture and a text."""

    model_config = _shown(
        {
            "model": "flux/img2img",
            "input": {"prompt": "The same in winter", "init_image": "https://example.com/summer.png", "strength": 0.7},
        }
    )

    model: Literal["flux/img2img"]
    input: ImageToImageInput


class BatchOfJobs(Strict):
    """Requests for pictures, each with a model of its own if need be."""

    model_config = _shown({"jobs": [{"input": {"prompt": "A horse in spring"}}, {"input": {"prompt": "In winter"}}]})

    jobs: Annotated[list[TextToImageJob | ImageToImageJob], Field(min_length=1, max_length=MOST_JOBS)]


class BatchBody(Strict):
    """The same from outside: each job is then read by `job_of`, which names the faults of its model alone."""

    jobs: Annotated[list[Any], Field(min_length=1, max_length=MOST_JOBS)]


MODELS: dict[str, type[TextToImageJob] | type[ImageToImageJob]] = {
    "flux/text2img": TextToImageJob,
    "flux/img2img": ImageToImageJob,
}
OURS = {"key": "our own", "webhook": "a member of the job", "track_id": "made by us"}


def job_of(body: Any) -> TextToImageJob | ImageToImageJob:
    """The job that a body asks for. Raises `InvalidField` or `UnknownField` with a pointer for every fault."""
    if not isinstance(body, dict):
        reading.refuse([{"pointer": "", "message": "The body must be a JSON object."}])
    model = body.get("model", DEFAULT_MODEL)
    if not isinstance(model, str) or model not in MODELS:
        reading.refuse([{"pointer": "/model", "message": f"Must be one of {', '.join(MODELS)}."}])
    try:
        return reading.validated(MODELS[model], body)
    except ProblemError as error:
        for fault in error.errors:
            name = fault["pointer"].removeprefix("/input/")
            if name in OURS and fault["pointer"] != name:
                fault["message"] = f"`{name}` does not belong into `input`: towards the provider it is {OURS[name]}."
        raise


def normalised_input(given: TextToImageInput) -> dict[str, Any]:
    """What was asked, as numbers and booleans: only what was said, and `samples`, which decides how many pictures there
    are. A null seed stays, everything else that is null was not said."""
    said = given.model_dump(exclude_unset=True)
    return {name: value for name, value in said.items() if value is not None or name == "seed"} | {
        "samples": given.samples
    }
