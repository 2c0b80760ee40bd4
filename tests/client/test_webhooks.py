"""Endpoints, deliveries and secrets by the client."""

import pytest

from tests.served import Served
from tests.web.test_endpoints import URL, canceled
from webhook_app.client import ApiError, Client


def test_an_endpoint_from_made_to_removed(client: Client) -> None:
    made = client.create_endpoint(URL, events=["job.failed"], description="the shop")
    endpoint_id = made["endpoint_id"]
    assert made["secret"].startswith("whsec_")
    assert [each["endpoint_id"] for each in client.endpoints()] == [endpoint_id]
    assert client.endpoint(endpoint_id)["events"] == ["job.failed"]
    changed = client.change_endpoint(endpoint_id, url=URL + "/new", events=None)
    assert (changed["url"], changed["events"], changed["description"]) == (URL + "/new", None, "the shop")
    assert client.rotate_endpoint_secret(endpoint_id, overlap_s=60)["secret"] != made["secret"]
    assert client.enable_endpoint(endpoint_id)["disabled_at"] is None
    assert client.recover_endpoint(endpoint_id, "2026-01-01T00:00:00Z")["endpoint_id"] == endpoint_id
    assert client.test_endpoint(endpoint_id)["type"] == "endpoint.test"
    client.remove_endpoint(endpoint_id)
    with pytest.raises(ApiError) as caught:
        client.remove_endpoint(endpoint_id)
    assert caught.value.status == 404


def test_deliveries_are_listed_page_by_page_and_sent_again(client: Client, served: Served) -> None:
    client.create_endpoint(URL)
    tracks = [canceled(served.api) for _ in range(3)]
    found = list(client.deliveries(limit=2, status=["pending"]))
    assert [each["track_id"] for each in found] == tracks[::-1]
    shown = client.retry_delivery(found[0]["delivery_id"])
    assert (shown["status"], shown["attempts"]) == ("pending", [])
    assert client.delivery(found[0]["delivery_id"])["body"] == shown["body"]


def test_the_secret_for_the_webhooks_of_jobs(client: Client) -> None:
    first = client.webhook_secret()
    assert first.startswith("whsec_")
    assert client.rotate_webhook_secret(overlap_s=0) != first
    assert client.webhook_secret() != first
