"""Sending again: one delivery, or what an endpoint has missed since a date."""

import pytest

from tests.flows.postman import OK, URL, Postman, refused
from webhook_app.domain.errors import EndpointNotActive, Erased, NotFound
from webhook_app.flows import redeliver, subscribe
from webhook_app.flows.erase import erase_job
from webhook_app.store import deliveries
from webhook_app.store.tables import Delivery

FAILED = refused(500)


def retry(postman: Postman, delivery_id: str) -> None:
    redeliver.retry(postman.world.store, delivery_id, now=postman.world.at)


def disable(postman: Postman, endpoint_id: str) -> None:
    with postman.world.store.writing() as connection:
        values = {"disabled_at": postman.world.at, "disabled_reason": "failing"}
        subscribe.endpoints.save(connection, endpoint_id, values)


def test_one_that_succeeded_is_sent_again_with_the_same_id_and_body(postman: Postman) -> None:
    postman.endpoint()
    postman.ended()
    postman.tick()
    row = postman.delivery()
    retry(postman, row.delivery_id)
    postman.tick()
    first, second = postman.net.sent
    assert (first[1], first[2]["webhook-id"]) == (second[1], second[2]["webhook-id"])
    assert [attempt.n for attempt in postman.attempts(row.delivery_id)] == [1, 2]
    assert postman.delivery().status == "succeeded"


def test_one_that_was_given_up_climbs_the_ladder_anew(postman: Postman) -> None:
    postman.endpoint()
    postman.net.answer(URL, FAILED)
    postman.ended()
    postman.tick()
    for _ in range(9):
        postman.next()
    row = postman.delivery()
    assert row.status == "failed"
    retry(postman, row.delivery_id)
    assert postman.next() == 0
    row = postman.delivery()
    assert (row.status, row.attempts) == ("pending", 11)
    assert 4 <= (row.due_at - postman.world.at).total_seconds() <= 6
    postman.world.later(minutes=5)  # The breaker is open after so many failures.
    postman.tick()
    assert postman.delivery().attempts == 12


def test_asking_twice_sends_once(postman: Postman) -> None:
    postman.endpoint()
    postman.ended()
    postman.tick()
    for _ in range(2):
        retry(postman, postman.delivery().delivery_id)
    assert [postman.tick(), postman.tick()] == [1, 0]


def test_one_under_way_is_left_alone(postman: Postman) -> None:
    postman.endpoint()
    postman.ended()
    (claim,) = postman.claim()
    retry(postman, claim.delivery_id)
    assert postman.claim(owner="w2") == []
    assert postman.record(postman.post(claim)) == 1


def test_asking_looks_through_an_open_breaker(postman: Postman) -> None:
    postman.endpoint()
    postman.net.answer(URL, FAILED)
    for _ in range(5):
        postman.ended()
        postman.tick()
    postman.net.answer(URL, OK)
    assert postman.claim() == []
    retry(postman, postman.deliveries()[0].delivery_id)
    assert len(postman.claim()) == 1


def test_nothing_is_sent_again_where_nobody_wants_it(postman: Postman) -> None:
    endpoint_id, _ = postman.endpoint()
    postman.ended()
    postman.tick()
    delivery_id = postman.delivery().delivery_id
    disable(postman, endpoint_id)
    with pytest.raises(EndpointNotActive):
        retry(postman, delivery_id)
    subscribe.enable(postman.world.store, endpoint_id)
    retry(postman, delivery_id)
    subscribe.unsubscribe(postman.world.store, endpoint_id, now=postman.world.at)
    assert (postman.delivery().status, postman.delivery().reason) == ("canceled", "endpoint_not_active")
    with pytest.raises(EndpointNotActive):
        retry(postman, delivery_id)
    with pytest.raises(NotFound):
        retry(postman, "dlv_nobody")


def test_an_erased_jobs_delivery_cannot_be_sent_again(postman: Postman) -> None:
    postman.endpoint()
    postman.ended()
    row = postman.delivery()
    erase_job(postman.world.store, row.track_id, by="key:k", now=postman.world.at)
    with postman.world.store.writing() as connection:
        deliveries.erase(connection, row.track_id, now=postman.world.at)
    with pytest.raises(Erased):
        retry(postman, row.delivery_id)


def test_a_changed_url_ends_what_waits_and_recover_brings_it_there(postman: Postman) -> None:
    world, new = postman.world, "https://client.example/new"
    endpoint_id, _ = postman.endpoint()
    since = world.at
    postman.ended()
    subscribe.change(world.store, endpoint_id, {"url": new}, now=world.at)
    assert postman.delivery().status == "canceled"
    subscribe.recover(world.store, endpoint_id, since=since)
    postman.recover()
    postman.tick()
    assert [url for url, _, _ in postman.net.sent] == [new]


def test_recovering_sends_what_was_missed_and_nothing_twice(postman: Postman) -> None:
    world = postman.world
    before = [postman.ended() for _ in range(2)]
    world.later(hours=1)
    since = world.at
    endpoint_id, _ = postman.endpoint()
    got = postman.ended()
    postman.tick()
    postman.net.answer(URL, refused(410))
    lost = postman.ended()
    postman.tick()
    missed = [postman.ended() for _ in range(3)]
    subscribe.enable(world.store, endpoint_id)
    subscribe.recover(world.store, endpoint_id, since=since)
    postman.net.answer(URL, OK)
    assert postman.recover() > 0
    assert postman.recover() == 0
    postman.tick()
    sent = [row.track_id for row in postman.deliveries(Delivery.status == "succeeded")]
    assert sorted(sent) == sorted([got, lost, *missed])
    assert not set(sent) & set(before)
    assert [row.attempts for row in postman.deliveries(Delivery.track_id == got)] == [1]
    assert postman.endpoint_row(endpoint_id).recover_since is None


def test_recovering_goes_through_a_long_log_in_batches(postman: Postman, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redeliver, "EVENTS_AT_ONCE", 4)
    world = postman.world
    tracks = [postman.ended() for _ in range(5)]
    endpoint_id, _ = postman.endpoint()
    subscribe.recover(world.store, endpoint_id, since=world.at)
    looked_at = [postman.recover() for _ in range(4)]
    assert looked_at == [4, 4, 2, 0]
    assert sorted(row.track_id for row in postman.deliveries()) == sorted(tracks)


def test_recovering_leaves_erased_jobs_out(postman: Postman) -> None:
    world = postman.world
    track_id = postman.ended()
    erase_job(world.store, track_id, by="key:k", now=world.at)
    postman.seal()
    endpoint_id, _ = postman.endpoint()
    subscribe.recover(world.store, endpoint_id, since=world.at)
    postman.recover()
    assert [row.body.count('"job":null') for row in postman.deliveries()] == [1]
