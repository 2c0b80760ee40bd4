"""Sending deliveries: signatures, the ladder, and how they end."""

import json
from datetime import timedelta

import pytest
from standardwebhooks import WebhookVerificationError

from tests.flows.postman import OK, URL, Postman, refused, verified
from webhook_app.domain.vault import Vault
from webhook_app.domain.webhooks import LADDER, Answered
from webhook_app.flows import notify, subscribe
from webhook_app.flows.erase import erase_job
from webhook_app.store import deliveries
from webhook_app.store.tables import Delivery, EventRow

OTHER = "https://other.example/hooks"
FAILED = refused(500, excerpt="no")


def test_a_delivery_is_signed_sent_and_recorded(postman: Postman) -> None:
    _, secret = postman.endpoint()
    postman.ended()
    assert postman.tick() == 1
    (url, body, headers) = postman.net.sent[0]
    row = postman.delivery()
    assert url == URL
    assert verified(secret, body, headers)["data"]["event"]["event_id"] == headers["webhook-id"] == row.event_id
    assert headers["Content-Type"] == "application/json"
    assert (row.status, row.attempts, row.due_at, row.finished_at) == ("succeeded", 1, None, postman.world.at)
    assert [(a.n, a.status_code, a.error, a.excerpt, a.duration_ms) for a in postman.attempts(row.delivery_id)] == [
        (1, 200, None, "thanks", 10)
    ]
    assert postman.tick() == 0


def test_a_changed_body_does_not_verify(postman: Postman) -> None:
    _, secret = postman.endpoint()
    postman.ended()
    postman.tick()
    _, body, headers = postman.net.sent[0]
    with pytest.raises(WebhookVerificationError):
        verified(secret, body + b" ", headers)


def test_all_who_named_the_url_can_verify_with_their_own_secret(postman: Postman) -> None:
    world = postman.world
    secrets = [postman.endpoint()[1], postman.endpoint()[1]]
    secrets.append(subscribe.show_default_secret(world.store, postman.vault, world.client_id, now=world.at))
    postman.ended(webhook=URL)
    postman.tick()
    _, body, headers = postman.net.sent[0]
    assert len(postman.net.sent) == 1
    assert [verified(secret, body, headers)["type"] for secret in secrets] == ["job.canceled"] * 3


def test_a_jobs_own_url_is_signed_with_its_clients_secret(postman: Postman) -> None:
    world = postman.world
    postman.ended(webhook=URL)
    postman.tick()
    secret = subscribe.show_default_secret(world.store, postman.vault, world.client_id, now=world.at)
    _, body, headers = postman.net.sent[0]
    assert verified(secret, body, headers)["type"] == "job.canceled"
    assert secret == subscribe.show_default_secret(world.store, postman.vault, world.client_id, now=world.at)


def test_both_secrets_sign_while_they_overlap_and_then_the_new_one_alone(postman: Postman) -> None:
    world = postman.world
    endpoint_id, old = postman.endpoint()
    new = subscribe.rotate(world.store, postman.vault, endpoint_id, overlap=timedelta(seconds=60), now=world.at)
    postman.ended()
    postman.tick()
    _, body, headers = postman.net.sent[0]
    assert headers["webhook-signature"].count(" ") == 1
    assert verified(old, body, headers) == verified(new, body, headers)
    world.later(seconds=61)
    postman.ended()
    postman.tick()
    _, body, headers = postman.net.sent[1]
    assert " " not in headers["webhook-signature"]
    assert verified(new, body, headers)
    with pytest.raises(WebhookVerificationError):
        verified(old, body, headers)


def test_a_clients_default_secret_rotates_too(postman: Postman) -> None:
    world, vault = postman.world, postman.vault
    old = subscribe.show_default_secret(world.store, vault, world.client_id, now=world.at)
    overlap = timedelta(seconds=60)
    new = subscribe.rotate_default_secret(world.store, vault, world.client_id, overlap=overlap, now=world.at)
    assert old != new == subscribe.show_default_secret(world.store, vault, world.client_id, now=world.at)
    postman.ended(webhook=URL)
    postman.tick()
    _, body, headers = postman.net.sent[0]
    assert verified(old, body, headers) == verified(new, body, headers)


def test_a_failing_receiver_is_tried_by_the_ladder_and_then_no_more(postman: Postman) -> None:
    postman.endpoint()
    postman.net.answer(URL, FAILED)
    postman.ended()
    postman.tick()
    spans = [postman.next() for _ in LADDER]
    for span, rung in zip(spans, LADDER, strict=True):
        assert 0.8 * rung.total_seconds() <= span <= 1.2 * rung.total_seconds()
    row = postman.delivery()
    assert (row.status, row.reason, row.attempts, row.due_at) == ("failed", "exhausted", 10, None)
    assert [a.status_code for a in postman.attempts(row.delivery_id)] == [500] * 10
    assert len({(headers["webhook-id"], body) for _, body, headers in postman.net.sent}) == 1
    assert len({headers["webhook-timestamp"] for _, _, headers in postman.net.sent}) == 10


@pytest.mark.parametrize("status", [199, 301, 302, 307, 400, 404, 500, 503])
def test_only_2xx_counts(postman: Postman, status: int) -> None:
    postman.endpoint()
    postman.net.answer(URL, refused(status), Answered(204, 0.01))
    postman.ended()
    postman.tick()
    assert postman.delivery().status == "pending"
    postman.next()
    assert (postman.delivery().status, postman.delivery().attempts) == ("succeeded", 2)


def test_retry_after_is_honoured_for_the_whole_url(postman: Postman) -> None:
    postman.endpoint()
    postman.net.answer(URL, refused(429, retry_after_s=120), OK)
    postman.ended()
    postman.tick()
    postman.ended()
    assert postman.tick() == 0, "the receiver asked for time"
    postman.world.later(seconds=119)
    assert postman.tick() == 0
    postman.world.later(seconds=1)
    assert [postman.tick(), postman.tick()] == [1, 1]
    assert {row.status for row in postman.deliveries()} == {"succeeded"}
    assert postman.breakers() == []


def test_a_retry_after_shorter_than_the_ladder_does_not_shorten_it(postman: Postman) -> None:
    postman.endpoint()
    postman.net.answer(URL, refused(503, retry_after_s=1))
    postman.ended()
    postman.tick()
    assert postman.next() >= 4.0


def test_410_disables_the_endpoint_and_says_so(postman: Postman) -> None:
    world = postman.world
    endpoint_id, _ = postman.endpoint()
    listener, _ = postman.endpoint(OTHER, "endpoint.disabled")
    postman.net.answer(URL, refused(410))
    postman.ended()
    postman.ended()
    (first, second) = postman.claim(limit=2)
    postman.record(postman.post(first))
    row = postman.endpoint_row(endpoint_id)
    assert (row.disabled_at, row.disabled_reason) == (world.at, "gone")
    told = world.rows(EventRow, EventRow.type == "endpoint.disabled")
    assert [(event.client_id, event.data) for event in told] == [
        (world.client_id, {"endpoint_id": endpoint_id, "reason": "gone"})
    ]
    postman.record(postman.post(second))
    postman.ended()
    assert sorted((row.status, row.reason) for row in postman.deliveries(Delivery.url == URL)) == [
        ("failed", "gone"),
        ("failed", "gone"),
    ]
    assert postman.delivery(Delivery.endpoint_id == listener).type == "endpoint.disabled"
    assert len(world.rows(EventRow, EventRow.type == "endpoint.disabled")) == 1


def test_what_waits_for_a_disabled_endpoint_ends(postman: Postman) -> None:
    postman.endpoint()
    postman.net.answer(URL, refused(410))
    for _ in range(3):
        postman.ended()
    (claim,) = postman.claim(limit=1)
    postman.record(postman.post(claim))
    assert sorted(row.status for row in postman.deliveries()) == ["canceled", "canceled", "failed"]
    assert postman.claim() == []


def test_five_days_of_failures_disable_and_a_success_between_begins_anew(postman: Postman) -> None:
    world = postman.world
    endpoint_id, _ = postman.endpoint()
    postman.net.answer(URL, FAILED)
    for day in range(12):
        if day == 3:
            postman.net.answer(URL, OK, FAILED)
        postman.ended()
        postman.tick()
        if postman.endpoint_row(endpoint_id).disabled_at is not None:
            break
        world.later(days=1)
    assert postman.endpoint_row(endpoint_id).disabled_reason == "failing"
    assert day in (8, 9), "five days after the success of day 3"
    assert {each.status for each in postman.deliveries()} == {"canceled", "succeeded"}


def test_a_forbidden_address_is_recorded_and_not_tried_again(postman: Postman) -> None:
    postman.endpoint()
    postman.net.answer(URL, Answered(None, 0.0, error="address_refused", forbidden=True))
    postman.ended()
    postman.tick()
    row = postman.delivery()
    assert (row.status, row.reason) == ("blocked", "address_forbidden")
    assert [a.error for a in postman.attempts(row.delivery_id)] == ["address_refused"]


def test_a_death_between_sending_and_recording_sends_again_with_the_same_id_and_body(postman: Postman) -> None:
    _, secret = postman.endpoint()
    postman.ended()
    (claim,) = postman.claim()
    postman.post(claim)
    assert postman.claim(owner="w2") == [], "leased"
    postman.world.later(seconds=31)
    postman.tick()
    first, second = postman.net.sent
    assert first[1] == second[1]
    assert first[2]["webhook-id"] == second[2]["webhook-id"]
    assert first[2]["webhook-timestamp"] != second[2]["webhook-timestamp"]
    assert verified(secret, second[1], second[2])
    assert (postman.delivery().status, postman.delivery().attempts) == ("succeeded", 1)


def test_a_worker_that_lost_its_lease_writes_nothing(postman: Postman) -> None:
    postman.endpoint()
    postman.net.answer(URL, FAILED, OK)
    postman.ended()
    (stale,) = postman.claim(owner="w1")
    answered = postman.post(stale)
    postman.world.later(seconds=31)
    (fresh,) = postman.claim(owner="w2")
    assert postman.record(answered) == 0
    assert postman.record(postman.post(fresh)) == 1
    assert [a.status_code for a in postman.attempts(stale.delivery_id)] == [200]
    assert postman.delivery().status == "succeeded"


@pytest.mark.parametrize("answer", [OK, FAILED])
def test_recording_twice_counts_once(postman: Postman, answer: Answered) -> None:
    postman.endpoint()
    postman.net.answer(URL, answer)
    postman.ended()
    sent = [postman.post(claim) for claim in postman.claim()]
    assert [postman.record(*sent), postman.record(*sent)] == [1, 0]
    assert postman.delivery().attempts == 1


def test_an_erased_job_is_sent_no_more_and_what_is_under_way_is_not_recorded(postman: Postman) -> None:
    world = postman.world
    postman.endpoint()
    track_id = postman.ended()
    (claim,) = postman.claim()
    erase_job(world.store, track_id, by="key:k", now=world.at)
    with world.store.writing() as connection:
        deliveries.erase(connection, track_id, now=world.at)
    assert postman.record(postman.post(claim)) == 0
    row = postman.delivery()
    assert (row.status, row.reason, row.body, row.url) == ("canceled", "erased", None, None)
    assert postman.attempts(row.delivery_id) == []


def test_a_secret_that_cannot_be_opened_sends_nothing_unsigned(postman: Postman) -> None:
    postman.endpoint()
    postman.ended()
    postman.vault = Vault(("another secret",))
    postman.tick()
    assert postman.net.sent == []
    assert [a.error for a in postman.attempts(postman.delivery().delivery_id)] == ["secret_unreadable"]
    assert postman.delivery().status == "pending"


def test_secrets_are_stored_locked_and_locked_again_with_a_new_key(postman: Postman) -> None:
    world = postman.world
    endpoint_id, secret = postman.endpoint()
    subscribe.show_default_secret(world.store, postman.vault, world.client_id, now=world.at)
    subscribe.rotate(world.store, postman.vault, endpoint_id, overlap=timedelta(hours=1), now=world.at)
    old, postman.vault = postman.vault, Vault(("a new secret", *postman.vault.secrets))
    before = postman.endpoint_row(endpoint_id)
    assert secret not in str(before)
    assert subscribe.lock_again(world.store, postman.vault) == 3
    assert subscribe.lock_again(world.store, postman.vault) == 0
    postman.vault = Vault(("a new secret",))
    postman.ended(webhook=URL)
    postman.tick()
    _, body, headers = postman.net.sent[0]
    assert verified(secret, body, headers)
    assert subscribe.lock_again(world.store, old) == 0, "what none of the keys opens stays as it is"


def test_a_worker_that_stops_hands_its_deliveries_over(postman: Postman) -> None:
    postman.endpoint()
    postman.ended()
    assert len(postman.claim(owner="w1")) == 1
    notify.give_back(postman.world.store, owner="w1")
    assert len(postman.claim(owner="w2")) == 1


def test_a_test_is_one_try_with_a_signed_body_also_of_a_disabled_endpoint(postman: Postman) -> None:
    world = postman.world
    endpoint_id, secret = postman.endpoint()
    with world.store.writing() as connection:
        subscribe.endpoints.save(connection, endpoint_id, {"disabled_at": world.at, "disabled_reason": "failing"})
    delivery_id = subscribe.test(world.store, endpoint_id, now=world.at)
    postman.tick()
    _, body, headers = postman.net.sent[0]
    assert verified(secret, body, headers)["data"]["endpoint"]["endpoint_id"] == endpoint_id
    assert json.loads(body)["type"] == "endpoint.test"
    postman.net.answer(URL, FAILED)
    second = subscribe.test(world.store, endpoint_id, now=world.at)
    postman.tick()
    assert postman.delivery(Delivery.delivery_id == delivery_id).status == "succeeded"
    assert postman.delivery(Delivery.delivery_id == second).status == "failed"
    assert postman.breakers() == [], "a test tells the breaker nothing"
