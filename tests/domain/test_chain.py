"""The written form of what is hashed: RFC 8785, whatever the language that checks it."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook_app.domain.chain import GENESIS, HASHED, canonical, hash_of

# RFC 8785, appendix B, and the two borders of the exponent.
NUMBERS = [
    (0.0, "0"),
    (-0.0, "0"),
    (5e-324, "5e-324"),
    (-5e-324, "-5e-324"),
    (1.7976931348623157e308, "1.7976931348623157e+308"),
    (9007199254740992.0, "9007199254740992"),
    (295147905179352830000.0, "295147905179352830000"),
    (9.999999999999997e22, "9.999999999999997e+22"),
    (1e23, "1e+23"),
    (1e21, "1e+21"),
    (999999999999999700000.0, "999999999999999700000"),
    (9.999999999999997e-7, "9.999999999999997e-7"),
    (0.000001, "0.000001"),
    (333333333.3333332, "333333333.3333332"),
    (-0.0000033333333333333333, "-0.0000033333333333333333"),
    (0.00002, "0.00002"),
    (1.5e-10, "1.5e-10"),
    (12.0, "12"),
    (1.32, "1.32"),
]


@pytest.mark.parametrize(("number", "written"), NUMBERS)
def test_numbers_are_written_as_ecmascript_does(number: float, written: str) -> None:
    assert canonical(number) == written


def test_members_are_sorted_by_utf_16_and_text_is_escaped_as_little_as_possible() -> None:
    # RFC 8785, section 3.2.3: the dancers are two surrogates, and so come before U+FB33.
    told = {"€": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "ö": 7}
    assert canonical(told) == '{"\\r":2,"1":4,"\u0080":6,"ö":7,"€":1,"\U0001f600":5,"\ufb33":3}'
    assert canonical('€$\u000f\nA\'B"\\"/') == '"€$\\u000f\\nA\'B\\"\\\\\\"/"'
    assert canonical([None, True, False, [], {}, 2**63]) == "[null,true,false,[],{},9223372036854775808]"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_json_cannot_say_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical({"n": value})


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(VALUES)
def test_what_is_written_means_the_same(value: Any) -> None:
    assert json.loads(canonical(value), parse_int=float) == value  # ECMAScript has one kind of number.


EVENT = {
    "event_id": "evt_a",
    "seq": 1,
    "type": "job.succeeded",
    "track_id": "0192f3c4-5d6e-7f80-9a1b-2c3d4e5f6071",
    "batch_id": None,
    "client_id": "cli_a",
    "actor": "provider",
    "created_at": datetime(2026, 3, 1, 12, 0, 0, 250, tzinfo=UTC),
    "data": {"images": 2, "generation_s": 3.0},
    "previous_hash": GENESIS,
}


def test_the_hash_is_that_of_a_text_which_anybody_can_write() -> None:
    text = (
        '{"actor":"provider","batch_id":null,"client_id":"cli_a","created_at":"2026-03-01T12:00:00.000250Z",'
        '"data":{"generation_s":3,"images":2},"event_id":"evt_a","previous_hash":"' + "0" * 64 + '","seq":1,'
        '"track_id":"0192f3c4-5d6e-7f80-9a1b-2c3d4e5f6071","type":"job.succeeded"}'
    )
    assert hash_of(EVENT | {"hash": "no part of it"}) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("member", HASHED)
def test_every_member_counts(member: str) -> None:
    assert hash_of(EVENT | {member: "other"}) != hash_of(EVENT)
