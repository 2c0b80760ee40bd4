"""What a job may say: every wrong or unknown member is named, and what the provider's own format allows is taken."""

from typing import Any

import pytest

from webhook_app.domain.errors import InvalidField, UnknownField
from webhook_app.web.schemas import MODELS, is_private, job_of, normalised_input

LONE = {"prompt": "x"}
PICTURE = {"prompt": "x", "init_image": "https://pictures.example/a.png"}


def faults(body: Any) -> dict[str, str]:
    with pytest.raises((InvalidField, UnknownField)) as caught:
        job_of(body)
    return {fault["pointer"]: fault["message"] for fault in caught.value.errors}


def test_the_seed_pages_own_example_is_taken_and_normalised() -> None:
    example = {
        "prompt": "ultra realistic close up portrait",
        "negative_prompt": "bad quality",
        "width": "512",
        "height": "512",
        "safety_checker": False,
        "seed": None,
        "samples": 1,
        "base64": "no",
    }
    asked = normalised_input(job_of({"input": example}).input)
    assert asked == example | {"width": 512, "height": 512, "base64": False}


def test_what_was_not_said_is_not_sent_but_for_the_number_of_pictures() -> None:
    assert normalised_input(job_of({"input": LONE}).input) == {"prompt": "x", "samples": 1}


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("width", 256, 256),
        ("width", "1024", 1024),
        ("height", 768.0, 768),
        ("samples", "4", 4),
        ("seed", 2**32 - 1, 2**32 - 1),
        ("seed", "0", 0),
        ("safety_checker", "yes", True),
        ("instant_response", "No", False),
        ("base64", "true", True),
        ("negative_prompt", "", ""),
    ],
)
def test_numbers_as_text_and_switches_as_words_are_normalised(name: str, given: Any, kept: Any) -> None:
    found = normalised_input(job_of({"input": LONE | {name: given}}).input)[name]
    assert found == kept
    assert type(found) is type(kept)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("prompt", ""),
        ("prompt", "   "),
        ("prompt", "x" * 10_001),
        ("prompt", 7),
        ("prompt", None),
        ("negative_prompt", "x" * 10_001),
        ("width", 255),
        ("width", 1032),
        ("width", 260),
        ("width", "wide"),
        ("width", 512.5),
        ("width", True),
        ("width", None),
        ("width", "512.0"),
        ("height", "1e3"),
        ("height", [512]),
        ("samples", 0),
        ("samples", 5),
        ("seed", -1),
        ("seed", 2**32),
        ("seed", False),
        ("safety_checker", 1),
        ("safety_checker", "maybe"),
    ],
)
def test_a_wrong_parameter_is_named_by_pointer(name: str, given: Any) -> None:
    assert list(faults({"input": LONE | {name: given}})) == [f"/input/{name}"]


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("init_image", "ftp://pictures.example/a.png"),
        ("init_image", "pictures.example/a.png"),
        ("init_image", "https://user:word@pictures.example/a.png"),
        ("init_image", "https://pictures.example/" + "a" * 2048),
        ("init_image", "https://"),
        ("init_image", "https://a b/"),
        ("strength", 1.01),
        ("strength", -0.1),
        ("strength", "much"),
        ("strength", True),
        ("temp", "perhaps"),
    ],
)
def test_img2img_checks_what_it_adds(name: str, given: Any) -> None:
    body = {"model": "flux/img2img", "input": PICTURE | {name: given}}
    assert list(faults(body)) == [f"/input/{name}"]


def test_img2img_needs_a_picture_and_text2img_knows_none() -> None:
    assert list(faults({"model": "flux/img2img", "input": LONE})) == ["/input/init_image"]
    assert list(faults({"input": PICTURE})) == ["/input/init_image"]
    asked = job_of({"model": "flux/img2img", "input": PICTURE | {"strength": "0.5", "temp": "no"}})
    assert normalised_input(asked.input) == PICTURE | {"strength": 0.5, "temp": False, "samples": 1}


@pytest.mark.parametrize(
    ("member", "given", "pointer"),
    [
        ("provider", "midjourney", "/provider"),
        ("model", "flux/inpaint", "/model"),
        ("model", 7, "/model"),
        ("reference", "", "/reference"),
        ("reference", "x" * 201, "/reference"),
        ("webhook", "http://client.example/hooks", "/webhook"),
        ("webhook", "https://127.0.0.1/hooks", "/webhook"),
        ("webhook", "https://localhost/hooks", "/webhook"),
        ("webhook", "https://u:p@client.example/", "/webhook"),
        ("webhook", "https://client.example:0/", "/webhook"),
        ("webhook", "https://client.example:99999/", "/webhook"),
        ("webhook_events", [], "/webhook_events"),
        ("webhook_events", ["job.succeeded", "job.exploded"], "/webhook_events/1"),
        ("metadata", [], "/metadata"),
        ("metadata", {"k": "x" * 4_096}, "/metadata"),
        ("tags", ["x"] * 21, "/tags"),
        ("tags", ["ok", "x" * 65], "/tags/1"),
        ("tags", [""], "/tags/0"),
        ("tags", "spring", "/tags"),
        ("priority", 101, "/priority"),
        ("priority", "1", "/priority"),
        ("timeout_s", 0, "/timeout_s"),
        ("timeout_s", 86_401, "/timeout_s"),
        ("input", None, "/input"),
        ("input", "x", "/input"),
    ],
)
def test_a_wrong_member_is_named_by_pointer(member: str, given: Any, pointer: str) -> None:
    assert list(faults({"input": LONE} | {member: given})) == [pointer]


def test_every_fault_is_named_at_once() -> None:
    found = faults({"input": {"width": 7, "nope": 1}, "priority": 1000, "a/b~c": 1})
    assert set(found) == {"/input/prompt", "/input/width", "/input/nope", "/priority", "/a~1b~0c"}


def test_only_unknown_members_are_an_unknown_field_and_anything_else_an_invalid_one() -> None:
    with pytest.raises(UnknownField):
        job_of({"input": LONE | {"steps": 3}, "colour": "red"})
    with pytest.raises(InvalidField):
        job_of({"input": LONE | {"steps": 3, "width": 1}})


@pytest.mark.parametrize("name", ["key", "webhook", "track_id"])
def test_what_is_ours_towards_the_provider_is_refused_with_a_reason(name: str) -> None:
    assert "does not belong into `input`" in faults({"input": LONE | {name: "x"}})[f"/input/{name}"]


@pytest.mark.parametrize("body", [None, [], "x", 7])
def test_a_body_that_is_no_object_is_refused(body: Any) -> None:
    assert list(faults(body)) == [""]


PRIVATE = [
    *("10.0.0.1", "169.254.169.254", "192.168.1.1", "::1", "fd00::1", "::ffff:127.0.0.1", "224.0.0.1", "2002:7f00:1::"),
    *("127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "fe80::1%eth0"),
    *("fec0::1", "::127.0.0.1", "64:ff9b::7f00:1", "2606:4700::5efe:7f00:1", "168.63.129.16", "100.100.100.200"),
    *("localhost", "db.internal", "printer.local", "a.localhost.", ".", "bücher.example"),
]


@pytest.mark.parametrize("host", PRIVATE)
def test_private_hosts_are_seen_however_they_are_spelled(host: str) -> None:
    assert is_private(host)


@pytest.mark.parametrize("host", PRIVATE[:-1])
def test_a_private_host_is_refused_where_a_url_is_named(host: str) -> None:
    authority = f"[{host}]" if ":" in host else host
    picture = {"model": "flux/img2img", "input": PICTURE | {"init_image": f"https://{authority}/a.png"}}
    assert list(faults(picture)) == ["/input/init_image"]
    assert list(faults({"input": LONE, "webhook": f"https://{authority}/hook"})) == ["/webhook"]


@pytest.mark.parametrize(
    "host", ["client.example", "93.184.216.34", "2606:2800:220:1::1", "xn--bcher-kva.example", "0x.org"]
)
def test_public_hosts_are_not_mistaken_for_private_ones(host: str) -> None:
    assert not is_private(host)


def test_every_model_has_a_schema_of_its_own() -> None:
    assert set(MODELS) == {"flux/text2img", "flux/img2img"}
