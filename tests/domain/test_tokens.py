"""Callback tokens and signatures: only what we made is accepted."""

import re
from collections.abc import Callable

import pytest

from webhook_app.domain.ids import new_track_id
from webhook_app.domain.tokens import Tokens, derive

TRACK = "01a20b6f-0186-747f-aac2-e9b9d9e2fd6c"
OLD, NEW = Tokens(("old secret",)), Tokens(("new secret", "old secret"))


def test_a_token_has_one_shape_and_is_always_the_same() -> None:
    token = OLD.callback("modelslab", TRACK, 12)
    assert re.fullmatch(r"12\.[A-Za-z0-9_-]{22}", token)
    assert token == OLD.callback("modelslab", TRACK, 12)
    assert OLD.check_callback("modelslab", TRACK, token) == 12


def test_a_token_is_bound_to_provider_job_and_attempt() -> None:
    token = OLD.callback("modelslab", TRACK, 1)
    assert OLD.check_callback("other", TRACK, token) is None
    assert OLD.check_callback("modelslab", new_track_id(), token) is None
    assert OLD.check_callback("modelslab", TRACK, "2" + token[1:]) is None


def test_secrets_rotate_in_two_deploys() -> None:
    before, after = OLD.callback("modelslab", TRACK, 1), NEW.callback("modelslab", TRACK, 1)
    assert before != after
    assert NEW.check_callback("modelslab", TRACK, before) == 1
    assert NEW.check_callback("modelslab", TRACK, after) == 1
    assert OLD.check_callback("modelslab", TRACK, after) is None
    assert Tokens(("old secret", "new secret")).check_callback("modelslab", TRACK, after) == 1


@pytest.mark.parametrize("spoil", [
    lambda token: "0" + token, lambda token: " " + token, lambda token: "+" + token, lambda token: "-" + token,
    lambda token: "\u0661" + token[1:], lambda token: token + "=", lambda token: token + "\n", lambda token: token[:-1],
    lambda token: token[2:], lambda token: token.replace(".", ""), lambda token: token[:-1] + "\ud800",
    lambda token: token[:-1] + "é", lambda token: "", lambda token: ".", lambda token: "1", lambda token: "9" * 5000,
    lambda token: token.swapcase(), lambda token: "1_0" + token[1:], lambda token: token + "\x00",
])  # fmt: skip
def test_nothing_but_the_token_itself_is_accepted(spoil: Callable[[str], str]) -> None:
    assert OLD.check_callback("modelslab", TRACK, spoil(OLD.callback("modelslab", TRACK, 1))) is None


def test_strange_track_ids_fail_closed() -> None:
    token = OLD.callback("modelslab", TRACK, 1)
    for strange in ("", TRACK.upper(), TRACK + "\n", "\ud800", f"{TRACK}\n1"):
        assert OLD.check_callback("modelslab", strange, token) is None


def test_a_signature_is_for_one_purpose() -> None:
    signature = OLD.sign("page cursor", "42")
    assert OLD.check("page cursor", "42", signature)
    assert NEW.check("page cursor", "42", signature)
    assert not OLD.check("image url", "42", signature)
    assert not OLD.check("page cursor", "43", signature)
    assert not OLD.check("page cursor", "42", "é")
    assert not OLD.check("page cursor", "42", "")


def test_a_callback_token_is_no_signature_of_another_purpose() -> None:
    mac = OLD.callback("modelslab", TRACK, 1).partition(".")[2]
    assert not OLD.check("page cursor", f"modelslab\n{TRACK}\n1", mac)


def test_keys_are_derived_as_rfc_5869_says() -> None:
    # Computed apart: extract with a zero salt, expand with the purpose as info.
    assert derive("secret", "callback").hex() == "d7422a1482d96233c1aa17dd28cda576cba075a34e90b7a488ac229964e04c38"


def test_the_secrets_do_not_show() -> None:
    assert "secret" not in repr(OLD)
