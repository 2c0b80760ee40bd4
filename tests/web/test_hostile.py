"""Hostile requests (reliability.md, H12 to H14): each has its answer, the same on both databases, never a 500."""

from typing import Any

import orjson
from sqlalchemy import select

from tests.web.conftest import Api
from webhook_app.store.tables import Job

DEEP = b"[" * 100_000
NOT_JSON = {
    "nothing": b"",
    "100,000 deep": DEEP + b"]" * 100_000,
    "100,000 deep in a member": b'{"input": {"prompt": ' + DEEP + b"]" * 100_000 + b"}}",
    "1e400": b'{"input": {"prompt": "x", "seed": 1e400}}',
    "NaN": b'{"input": {"prompt": "x", "seed": NaN}}',
    "Infinity": b'{"input": {"prompt": "x"}, "priority": -Infinity}',
    "5,000 digits": b'{"input": {"prompt": "x", "seed": ' + b"9" * 5_000 + b"}}",
    "byte order mark": b'\xef\xbb\xbf{"input": {"prompt": "x"}}',
    "trailing bytes": b'{"input": {"prompt": "x"}}x',
    "two objects": b'{"input": {"prompt": "x"}}{}',
    "a member twice": b'{"input": {"prompt": "x", "prompt": "y"}}',
    "invalid UTF-8": b'{"input": {"prompt": "\xc3\x28"}}',
    "overlong": b'{"input": {"prompt": "\xc0\xaf"}}',
    "a raw surrogate": b'{"input": {"prompt": "\xed\xa0\x80"}}',
    "a raw NUL": b'{"input": {"prompt": "a\x00b"}}',
    "UTF-16": '{"input": {"prompt": "x"}}'.encode("utf-16"),
}
NO_JOB: dict[str, Any] = {
    "an array": [],
    "a text": "job",
    "a number": 7,
    "null": None,
    "true": True,
    "input is a list": {"input": []},
    "input is a text": {"input": "prompt"},
    "input is null": {"input": None},
    "no input": {},
}
TEXTS = {
    "bidi controls": "\u202eevil\u202c \u2066x\u2069",
    "4,000 emoji": "\U0001f419" * 4_000,
    "U+FFFE": "a\ufffeb\uffff",
    "C0 and C1 controls": "a\x01\x1b[31m\x7f\x85b",
    "combining marks": "Z\u0351\u036b\u0343" * 500,
    "markup": "<script>alert('1')</script>{{7*7}}%s\\' OR 1=1 --",
    "line ends": "a\r\nb\u2028c",
}
NOT_STORABLE = {"NUL": "a\\u0000b", "a lone surrogate": "\\ud800x", "a reversed pair": "\\udc00\\ud800"}
LONE: dict[str, Any] = {"input": {"prompt": "x"}}
INTEGERS: list[tuple[str, Any, bool]] = [
    ("seed", 2**31, True),
    ("seed", 2**32, False),
    ("seed", 2**63 - 1, False),
    ("seed", 2**63, False),
    ("seed", -(2**63) - 1, False),
    ("seed", "4294967295", True),
    ("seed", "9" * 19, False),
    ("seed", "9" * 5_000, False),
    ("seed", "0x10", False),
    ("seed", "\u0661\u0662", False),
    ("seed", -0.0, True),
    ("seed", 1.5, False),
    ("seed", True, False),
    ("width", 2**31, False),
    ("width", -512, False),
    ("width", 512.0, True),
    ("width", 512.5, False),
    ("width", True, False),
    ("width", "512", True),
    ("width", " 512", False),
    ("width", {"$gt": 0}, False),
    ("samples", 2**63 - 1, False),
    ("samples", "1", True),
    ("samples", None, False),
]
MEMBERS: list[tuple[str, Any]] = [
    ("priority", 2**31),
    ("priority", 2**63 - 1),
    ("priority", "5"),
    ("priority", True),
    ("priority", 0.5),
    ("timeout_s", 0),
    ("timeout_s", -1),
    ("timeout_s", 2**31),
    ("timeout_s", 2**63),
    ("timeout_s", "900"),
    ("timeout_s", 1e300),
]
QUERIES = [
    "/v1/jobs?limit=0",
    "/v1/jobs?limit=-1",
    "/v1/jobs?limit=9223372036854775808",
    "/v1/jobs?limit=" + "9" * 5_000,
    "/v1/jobs?limit=1e2",
    "/v1/jobs?limit=true",
    "/v1/jobs?seed=9223372036854775808",
    "/v1/jobs?seed=-1",
    "/v1/jobs?reference=%00",
    "/v1/jobs?q=a%00b",
    "/v1/jobs?metadata.a=%00",
    "/v1/jobs?metadata.%00=a",
    "/v1/jobs?cursor=x",
    "/v1/jobs?cursor=%00",
    "/v1/jobs?created_after=9999-99-99T00:00:00Z",
    "/v1/jobs?order=number;DROP%20TABLE%20jobs",
    "/v1/jobs?status=gone",
    "/v1/jobs?created_before=9999-12-31T23:59:59-12:00",
    "/v1/jobs?created_after=0001-01-01T00:00:00%2B12:00",
]
ODD_QUERIES = [
    "/v1/jobs?reference=%FF%FE",
    "/v1/jobs?reference=%ED%A0%80",
    "/v1/jobs?q=%25%5F%5C",
    "/v1/jobs?q='%20OR%201=1%20--",
    "/v1/jobs?metadata.%F0%9F%90%99=%F0%9F%90%99",
    "/v1/jobs?metadata.a.b[0]$=x",
    "/v1/jobs?seed=9223372036854775807",
    "/v1/jobs?created_after=0001-01-01T00:00:00Z",
    "/v1/jobs?created_before=9999-12-31T23:59:59Z",
]
NAMES = ["%00", "%FF", "..%2F..", "%F0%9F%90%99", "x" * 4_000, "'--", "%ED%A0%80", "%0d%0aSet-Cookie:a"]


def raw(api: Api, body: bytes) -> tuple[int, str]:
    """Status and code of a submit with these bytes; the answer is checked for what every refusal has."""
    response = api.call("POST", "/v1/jobs", data=body, content_type="application/json")
    if response.status_code < 400:
        return response.status_code, ""
    assert response.content_type == "application/problem+json"
    return response.status_code, response.json["code"]


def count(api: Api) -> int:
    return len(api.get("/v1/jobs?limit=200").json["data"])


def test_what_is_not_json_is_400_and_leaves_nothing(api: Api) -> None:
    answers = {name: raw(api, body) for name, body in NOT_JSON.items()}
    assert answers == dict.fromkeys(NOT_JSON, (400, "malformed_json"))
    assert count(api) == 0


def test_json_that_is_no_job_is_422_and_leaves_nothing(api: Api) -> None:
    answers = {name: raw(api, orjson.dumps(body)) for name, body in NO_JOB.items()}
    assert answers == dict.fromkeys(NO_JOB, (422, "invalid_field"))
    assert count(api) == 0


BODIES = ["[]", "{}", "1", '"x"', "{", '{"client": 1}', '{"name": "a\\u0000"}', "[" * 50_000]


def test_the_admin_s_routes_read_as_strictly(admin: Api) -> None:
    for path in ("/v1/keys", "/v1/clients"):
        for body in BODIES:
            response = admin.call("POST", path, data=body.encode(), content_type="application/json")
            assert response.status_code in (400, 422), (path, body[:20])
            assert response.content_type == "application/problem+json"


def test_strange_text_is_stored_as_it_came(api: Api) -> None:
    for name, text in TEXTS.items():
        said = {"reference": text[:200], "tags": [text[:64]], "metadata": {text[:50]: text[:500]}}
        response = api.post("/v1/jobs", said | {"input": {"prompt": text}})
        assert response.status_code == 202, (name, response.text)
        job = api.get(f"/v1/jobs/{response.json['track_id']}").json
        # Answers are kept small: a long prompt is shortened there, and there alone.
        with api.parts.store.reading() as connection:
            kept = connection.scalar(select(Job.input).where(Job.track_id == job["track_id"]))
        assert (kept["prompt"], {member: job[member] for member in said}) == (text, said), name
        found = api.get("/v1/jobs", query_string={"reference": text[:200]}).json["data"]
        assert [one["track_id"] for one in found] == [job["track_id"]], name


def test_text_that_one_database_cannot_store_is_422_on_both(api: Api) -> None:
    places = {
        "/input/prompt": '{"input": {"prompt": "%s"}}',
        "/reference": '{"input": {"prompt": "x"}, "reference": "%s"}',
        "/tags/0": '{"input": {"prompt": "x"}, "tags": ["%s"]}',
        "/metadata/a/b": '{"input": {"prompt": "x"}, "metadata": {"a": {"b": "%s"}}}',
        "/metadata": '{"input": {"prompt": "x"}, "metadata": {"%s": 1}}',
        "/webhook": '{"input": {"prompt": "x"}, "webhook": "https://client.example/%s"}',
        "": '{"%s": 1}',
    }
    for name, text in NOT_STORABLE.items():
        for place, template in places.items():
            response = api.call("POST", "/v1/jobs", data=(template % text).encode(), content_type="application/json")
            assert (response.status_code, response.json["code"]) == (422, "invalid_field"), (name, place)
            assert [fault["pointer"] for fault in response.json["errors"]] == [place], name
    assert count(api) == 0


def test_integers_are_taken_or_refused_by_name(api: Api) -> None:
    for name, given, taken in INTEGERS:
        body = b'{"input": {"prompt": "x", "%s": %s}}' % (name.encode(), _json(given))
        response = api.call("POST", "/v1/jobs", data=body, content_type="application/json")
        if taken:
            assert response.status_code == 202, (name, given)
            assert response.json["input"][name] == int(given)
        else:
            assert (response.status_code, response.json["code"]) == (422, "invalid_field"), (name, given)
            assert [fault["pointer"] for fault in response.json["errors"]] == [f"/input/{name}"], given


def test_our_own_integers_are_never_text(api: Api) -> None:
    for name, given in MEMBERS:
        body = b'{"input": {"prompt": "x"}, "%s": %s}' % (name.encode(), _json(given))
        response = api.call("POST", "/v1/jobs", data=body, content_type="application/json")
        assert (response.status_code, response.json["code"]) == (422, "invalid_field"), (name, given)
        assert [fault["pointer"] for fault in response.json["errors"]] == [f"/{name}"], given


def _json(value: Any) -> bytes:
    """Also what is beyond 64 bits."""
    return str(value).encode() if type(value) is int else orjson.dumps(value)


def test_metadata_keeps_its_numbers_exactly(api: Api) -> None:
    for integer in (2**63 - 1, -(2**63) + 1, 2**53 + 1, 0):
        body = b'{"input": {"prompt": "x"}, "metadata": {"n": %d, "f": 0.1, "e": 1e22}}' % integer
        response = api.call("POST", "/v1/jobs", data=body, content_type="application/json")
        assert response.status_code == 202, response.text
        kept = api.get(f"/v1/jobs/{response.json['track_id']}").json["metadata"]
        assert kept == {"n": integer, "f": 0.1, "e": 1e22}


def test_a_query_that_means_nothing_is_422(api: Api) -> None:
    for address in QUERIES:
        response = api.get(address)
        assert (response.status_code, response.content_type) == (422, "application/problem+json"), address


def test_a_query_that_is_only_odd_is_answered(api: Api) -> None:
    api.submit()
    for address in ODD_QUERIES:
        response = api.get(address)
        assert response.status_code == 200, address
        assert len(response.json["data"]) == ("created" in address), address


def test_an_address_of_nothing_is_404_whatever_it_says(admin: Api) -> None:
    routes = ["/v1/jobs/{}", "/v1/jobs/{}/events", "/v1/jobs/{}/attempts", "/v1/jobs/{}/callbacks", "/v1/images/{}"]
    for name in NAMES:
        for route in [*routes, "/images/{}.png", "/images/img_x.{}"]:
            response = admin.get(route.format(name))
            assert (response.status_code, response.content_type) == (404, "application/problem+json"), (route, name)
        assert admin.delete(f"/v1/keys/{name}").status_code == 404
