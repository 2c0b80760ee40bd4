"""Which deliveries the sealer makes, and what is in them."""

import json

import pytest

from tests.flows.postman import URL, Postman
from tests.flows.test_batches import submit as submit_batch
from tests.statements import statements
from webhook_app.domain.errors import InvalidField
from webhook_app.domain.events import WEBHOOK_DEFAULTS, EventType
from webhook_app.flows import seal, show, subscribe
from webhook_app.flows.announce import is_wanted
from webhook_app.flows.erase import erase_job
from webhook_app.store.tables import Delivery, EventRow, Job


def test_an_endpoint_gets_the_end_of_a_job_and_nothing_before_it(postman: Postman) -> None:
    endpoint_id, _ = postman.endpoint()
    track_id = postman.ended()
    row = postman.delivery()
    assert (row.type, row.track_id, row.endpoint_id, row.url) == ("job.canceled", track_id, endpoint_id, URL)
    assert (row.status, row.due_at, row.attempts, row.of_job) == ("pending", postman.world.at, 0, False)


def test_the_body_is_the_job_as_get_returns_it_and_the_event(postman: Postman) -> None:
    postman.endpoint()
    track_id = postman.ended(metadata={"campaign": "spring"})
    row = postman.delivery()
    body = json.loads(row.body)
    assert set(body) == {"type", "timestamp", "data"}
    assert set(body["data"]) == {"job", "event"}
    assert body["type"] == "job.canceled"
    assert (body["data"]["job"]["track_id"], body["data"]["job"]["status"]) == (track_id, "canceled")
    assert body["data"]["job"]["metadata"] == {"campaign": "spring"}
    assert body["data"]["event"]["event_id"] == row.event_id
    assert body["data"]["event"]["seq"] == 2
    assert body["timestamp"] == body["data"]["event"]["created_at"]
    assert set(body["data"]["event"]) == set(show.EVENT_MEMBERS)


def test_the_body_stays_as_it_was_made(postman: Postman) -> None:
    postman.endpoint()
    track_id = postman.ended(reference="order-42")
    before = postman.delivery().body
    with postman.world.store.writing() as connection:
        connection.execute(Job.__table__.update().values(reference="another"))
    postman.seal()
    postman.tick()
    assert [body.decode() for _, body, _ in postman.net.sent] == [before]
    assert postman.world.job(track_id).reference == "another"


def test_chosen_types_are_sent_and_no_others(postman: Postman) -> None:
    postman.endpoint(URL, "job.queued")
    postman.ended()
    assert [row.type for row in postman.deliveries()] == ["job.queued"]


def test_the_defaults_are_the_ends_and_the_archive_and_the_batch() -> None:
    assert {kind for kind in EventType if is_wanted(kind, None)} == set(WEBHOOK_DEFAULTS)
    assert len(WEBHOOK_DEFAULTS) == 7


def test_the_same_url_gets_an_event_once_whoever_names_it(postman: Postman) -> None:
    first, _ = postman.endpoint()
    postman.world.later(seconds=1)
    postman.endpoint()
    postman.endpoint("https://client.example/other")
    postman.ended(webhook=URL)
    rows = postman.deliveries(Delivery.url == URL)
    assert [(row.endpoint_id, row.of_job) for row in rows] == [(first, True)]
    assert len(postman.deliveries()) == 2
    assert len({row.event_id for row in postman.deliveries()}) == 1


def test_a_job_names_its_own_url_and_types(postman: Postman) -> None:
    postman.ended(webhook=URL)
    postman.ended(webhook=URL, webhook_events=["job.queued"])
    assert sorted((row.type, row.endpoint_id, row.of_job) for row in postman.deliveries()) == [
        ("job.canceled", None, True),
        ("job.queued", None, True),
    ]


def test_a_clients_endpoint_hears_of_its_own_jobs_alone(postman: Postman) -> None:
    other = postman.world.client("other")
    postman.endpoint(client_id=other)
    postman.ended()
    assert postman.deliveries() == []
    postman.ended(client_id=other)
    assert [row.client_id for row in postman.deliveries()] == [other]


def test_two_clients_with_one_url_are_two_receivers(postman: Postman) -> None:
    other = postman.world.client("other")
    postman.endpoint()
    postman.endpoint(client_id=other)
    postman.ended()
    postman.ended(client_id=other)
    assert len({row.receiver for row in postman.deliveries()}) == 2


def test_a_disabled_endpoint_gets_nothing(postman: Postman) -> None:
    endpoint_id, _ = postman.endpoint()
    with postman.world.store.writing() as connection:
        subscribe.endpoints.save(
            connection, endpoint_id, {"disabled_at": postman.world.at, "disabled_reason": "failing"}
        )
    postman.ended()
    assert postman.deliveries() == []
    subscribe.enable(postman.world.store, endpoint_id)
    postman.ended()
    assert len(postman.deliveries()) == 1


def test_of_an_erased_job_nothing_is_told_but_that_it_is(postman: Postman) -> None:
    postman.endpoint(URL, "job.canceled", "job.erased")
    track_id = postman.world.submit(webhook="https://client.example/its-own", reference="order-42")
    erase_job(postman.world.store, track_id, by="key:k", now=postman.world.at)
    postman.seal()
    rows = postman.deliveries()
    assert sorted(row.type for row in rows) == ["job.canceled", "job.erased"]
    assert {row.url for row in rows} == {URL}
    assert [json.loads(row.body)["data"]["job"] for row in rows] == [None, None]


def test_sealing_without_anybody_who_listens_costs_one_statement(postman: Postman) -> None:
    postman.ended()
    for _ in range(2):
        postman.world.submit()
    with statements(postman.world.store) as sent:
        seal.seal(postman.world.store, limit=1)
    without = len(sent)
    with statements(postman.world.store) as sent:
        postman.seal()
    # Sealing, its search for the new numbers and for who wants them; then the look that finds nothing left.
    assert len([text for text in sent if "endpoints" in text]) == 1
    assert len(sent) <= without + 2 + 3


def test_the_bodies_of_many_events_are_made_together(postman: Postman) -> None:
    postman.endpoint(URL, "job.queued")
    tracks = [postman.world.submit() for _ in range(450)]
    postman.seal()
    rows = postman.deliveries()
    assert sorted(row.track_id for row in rows) == sorted(tracks)
    assert len(postman.world.rows(EventRow, EventRow.seq.is_(None))) == 0


def test_a_client_may_have_twenty_endpoints(postman: Postman) -> None:
    for n in range(subscribe.MOST_ENDPOINTS):
        postman.endpoint(f"{URL}/{n}")
    with pytest.raises(InvalidField, match="20 endpoints"):
        postman.endpoint()


def test_a_complete_batch_is_told_once_with_the_batch(postman: Postman) -> None:
    postman.endpoint(URL, "batch.completed")
    made = submit_batch(postman.world, 2)
    for track_id in made.track_ids:
        postman.cancel(track_id)
    row = postman.delivery()
    body = json.loads(row.body)
    assert (row.type, row.batch_id, row.track_id) == ("batch.completed", made.batch_id, None)
    assert set(body["data"]) == {"batch", "event"}
    assert body["data"]["batch"]["batch_id"] == made.batch_id
    assert body["data"]["batch"]["counts"]["canceled"] == 2
