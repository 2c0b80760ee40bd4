"""Signatures, the ladder, breakers, and secrets as they are stored."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from webhook_app.domain.vault import Unreadable, Vault
from webhook_app.domain.webhooks import (
    GIVE_UP_AFTER,
    LADDER,
    Answered,
    Breaker,
    new_secret,
    next_try_after,
    receiver_of,
    secret_text,
    signatures,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@given(st.text(max_size=200), st.integers(1, 2**33))
def test_signatures_are_those_of_the_standards_library(body: str, stamp: int) -> None:
    raw = body.encode("utf-8", "surrogatepass") if body.isprintable() else b"{}"
    secret = new_secret()
    theirs = Webhook(secret_text(secret)).sign("evt_1", datetime.fromtimestamp(stamp, UTC), raw.decode())
    assert signatures([secret], "evt_1", stamp, raw) == theirs


def test_the_vector_of_the_specification() -> None:
    secret = Webhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")._whsecret
    found = signatures([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_is_32_bytes_in_standard_base64() -> None:
    text = secret_text(bytes(range(224, 256)))
    assert text == "whsec_4OHi4+Tl5ufo6err7O3u7/Dx8vP09fb3+Pn6+/z9/v8="


@given(st.floats(0, 1, exclude_max=True), st.integers(0, len(LADDER) - 1))
def test_the_ladder_is_kept_within_a_fifth(jitter: float, rung: int) -> None:
    span = next_try_after(rung, jitter=jitter)
    assert span is not None
    assert 0.8 * LADDER[rung] <= span <= 1.2 * LADDER[rung]


def test_the_ladder_is_the_contracts() -> None:
    hours = [round(span.total_seconds() / 3600, 4) for span in LADDER]
    assert hours == [0.0014, 0.0833, 0.5, 2, 5, 10, 14, 20, 24]
    assert next_try_after(len(LADDER), jitter=0.5) is None


@pytest.mark.parametrize(
    ("asked", "least", "most"), [(None, 4, 6), (0, 4, 6), (-5, 4, 6), (120, 120, 120), (10**9, 86_400, 86_400)]
)
def test_retry_after_is_never_undercut_and_ends_after_a_day(asked: int | None, least: int, most: int) -> None:
    span = next_try_after(0, jitter=0.3, retry_after_s=asked)
    assert span is not None
    assert least <= span.total_seconds() <= most


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=40))
def test_a_breaker_opens_at_the_fifth_failure_and_never_for_longer_than_five_minutes(jitters: list[float]) -> None:
    breaker = Breaker()
    for count, jitter in enumerate(jitters, start=1):
        breaker = breaker.failed(Answered(500, 0.1), jitter=jitter, now=NOW)
        assert breaker.failures == count
        assert (breaker.open_until is not None) == (count >= 5)
        if breaker.open_until is not None:
            assert timedelta() < breaker.open_until - NOW <= timedelta(minutes=5)


def test_only_failures_for_five_days_are_counted_from_the_first_one() -> None:
    first = Breaker().failed(Answered(500, 0.1), jitter=0, now=NOW)
    later = first.failed(Answered(None, 15, error="timeout"), jitter=0, now=NOW + GIVE_UP_AFTER)
    assert not first.has_only_failed(NOW + GIVE_UP_AFTER - timedelta(seconds=1))
    assert later.has_only_failed(NOW + GIVE_UP_AFTER)
    assert not Breaker().has_only_failed(NOW)


def test_a_receiver_is_a_clients_url() -> None:
    assert receiver_of("cli_1", "https://a.example/") != receiver_of("cli_2", "https://a.example/")
    assert receiver_of("cli_1", "https://a.example/") == receiver_of("cli_1", "https://a.example/")


@given(st.binary(min_size=32, max_size=32), st.text(max_size=40))
def test_what_is_locked_opens_with_any_known_key_for_its_owner(secret: bytes, owner: str) -> None:
    vault = Vault(("new", "old"))
    text = Vault(("old",)).lock(secret, owner)
    assert vault.open(text, owner) == secret
    assert vault.open(vault.lock(secret, owner), owner) == secret
    assert vault.lock(secret, owner).startswith(vault.newest)
    assert not text.startswith(vault.newest)
    for other, whose in ((Vault(("new",)), owner), (vault, owner + "x")):
        with pytest.raises(Unreadable):
            other.open(text, whose)


def test_a_changed_text_does_not_open_and_two_locks_of_one_secret_differ() -> None:
    vault, secret = Vault(("key",)), new_secret()
    text = vault.lock(secret, "ep_1")
    assert text != vault.lock(secret, "ep_1")
    assert secret.hex() not in text
    for at in range(9, len(text), 7):
        changed = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        with pytest.raises(Unreadable):
            vault.open(changed, "ep_1")
    for nonsense in ("", ".", "abc.def", "abc.====", text[:-8]):
        with pytest.raises(Unreadable):
            vault.open(nonsense, "ep_1")
