"""Whose turn it is: a hanging URL, a failing one and a client with much to send do not hold up the others."""

from datetime import timedelta

from tests.flows.postman import OK, URL, Postman, refused
from webhook_app.flows import notify

FAILED = refused()
OTHER = "https://other.example/hooks"


def test_a_hanging_url_holds_sixteen_places_and_the_others_go_on(postman: Postman) -> None:
    postman.endpoint(URL, "job.queued")
    for _ in range(300):
        postman.world.submit()
    postman.seal()
    hanging = postman.claim()
    assert len(hanging) == notify.AT_ONE_URL
    postman.world.later(seconds=1)
    postman.endpoint(OTHER, "job.queued")
    postman.world.submit()
    postman.seal()
    claims = postman.claim()
    assert [claim.url for claim in claims] == [OTHER], "behind hundreds that are due for longer"


def test_one_client_leaves_room_for_the_others(postman: Postman) -> None:
    for n in range(80):
        postman.ended(webhook=f"{URL}/{n}")
    claims = postman.claim()
    assert len(claims) == 48
    other = postman.world.client("other")
    postman.ended(client_id=other, webhook=OTHER)
    assert [claim.url for claim in postman.claim(limit=16)] == [OTHER]


def test_the_breaker_opens_after_five_failures_and_lets_one_through_at_a_time(postman: Postman) -> None:
    postman.endpoint()
    postman.net.answer(URL, FAILED)
    for _ in range(5):
        postman.ended()
        postman.tick()
    (breaker,) = postman.breakers()
    assert breaker.failures == 5
    for _ in range(3):
        postman.ended()
    assert postman.claim() == []
    postman.world.later(seconds=10)
    (probe,) = postman.claim(owner="w1")
    assert postman.claim(owner="w2") == []
    postman.net.answer(URL, OK)
    postman.record(postman.post(probe))
    assert postman.breakers() == []
    assert postman.tick() >= 2, "what waited goes out at once"


def test_failures_of_what_was_under_way_when_it_opened_count_no_further(postman: Postman) -> None:
    postman.endpoint()
    for _ in range(notify.AT_ONE_URL):
        postman.ended()
    postman.net.answer(URL, FAILED)
    sent = [postman.post(claim) for claim in postman.claim()]
    for each in sent:
        postman.record(each)
    (breaker,) = postman.breakers()
    assert breaker.failures == 5
    first = breaker.open_until
    postman.world.at = first
    (probe,) = postman.claim()
    postman.record(postman.post(probe))
    (breaker,) = postman.breakers()
    assert breaker.failures == 6, "what an open one let through counts"
    assert breaker.open_until > first


def test_one_that_asks_for_time_gets_it_also_when_its_breaker_is_open_already(postman: Postman) -> None:
    postman.endpoint()
    for _ in range(6):
        postman.ended()
    claims = postman.claim()
    postman.net.answer(URL, *[FAILED] * 5, refused(429, retry_after_s=600))
    for claim in claims:
        postman.record(postman.post(claim))
    (breaker,) = postman.breakers()
    assert (breaker.failures, breaker.open_until) == (5, postman.world.at + timedelta(seconds=600))


def test_a_worker_keeps_what_it_is_sending(postman: Postman) -> None:
    postman.ended(webhook=URL)
    (claim,) = postman.claim(owner="w1")
    for _ in range(4):
        postman.world.later(seconds=20)
        notify.renew(postman.world.store, owner="w1", now=postman.world.at)
        assert postman.claim(owner="w2") == []
    assert postman.record(postman.post(claim)) == 1


def test_a_lease_that_ran_out_is_not_renewed(postman: Postman) -> None:
    postman.ended(webhook=URL)
    postman.claim(owner="w1")
    postman.world.later(seconds=31)
    notify.renew(postman.world.store, owner="w1", now=postman.world.at)
    assert len(postman.claim(owner="w2")) == 1


def test_a_breaker_never_stays_open_for_longer_than_five_minutes(postman: Postman) -> None:
    postman.endpoint()
    postman.net.answer(URL, FAILED)
    postman.ended(webhook=URL)
    for _ in range(30):
        postman.ended()
        postman.world.later(minutes=5)
        for claim in postman.claim(limit=1):
            postman.record(postman.post(claim))
        (breaker,) = postman.breakers()
        if breaker.open_until is not None:
            assert breaker.open_until - postman.world.at <= timedelta(minutes=5)
    assert breaker.failures >= 25
