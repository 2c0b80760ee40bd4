"""What a server sends by itself: a client's endpoints, the log of deliveries, and the secrets that sign."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote

from webhook_app.client.calls import Calls
from webhook_app.client.shapes import Delivery, Endpoint, NewEndpoint, Recovering

UNSET: Any = object()
DEFAULT_SECRET = "/v1/webhooks/default/secret"  # noqa: S105 - a path


class Webhooks:
    """A part of `Client`. Every method raises `ApiError`."""

    _calls: Calls

    def create_endpoint(
        self, url: str, *, events: list[str] | None = None, description: str | None = None
    ) -> NewEndpoint:
        """A standing URL for these events (None: the defaults); its `secret` is shown here and never again."""
        made: NewEndpoint
        body = {"url": url, "events": events, "description": description}
        made, _ = self._calls.json("POST", "/v1/endpoints", body=body)
        return made

    def endpoints(self) -> Iterator[Endpoint]:
        """All of them, oldest first."""
        return self._calls.pages("/v1/endpoints", {})

    def endpoint(self, endpoint_id: str) -> Endpoint:
        found: Endpoint
        found, _ = self._calls.json("GET", _endpoint(endpoint_id))
        return found

    def change_endpoint(
        self,
        endpoint_id: str,
        *,
        url: str | None = None,
        events: list[str] | None = UNSET,
        description: str | None = UNSET,
    ) -> Endpoint:
        """What is not given stays; None takes a choice of events or a description back."""
        body = {"url": url} | {
            name: value for name, value in (("events", events), ("description", description)) if value is not UNSET
        }
        changed: Endpoint
        changed, _ = self._calls.json("PATCH", _endpoint(endpoint_id), body=body)
        return changed

    def remove_endpoint(self, endpoint_id: str) -> None:
        """For good."""
        self._calls.nothing("DELETE", _endpoint(endpoint_id))

    def rotate_endpoint_secret(self, endpoint_id: str, *, overlap_s: int = 86_400) -> NewEndpoint:
        """With a new `secret`; the old one signs too for so many seconds."""
        rotated: NewEndpoint
        path = f"{_endpoint(endpoint_id)}/rotate-secret"
        rotated, _ = self._calls.json("POST", path, body={"overlap_s": overlap_s})
        return rotated

    def test_endpoint(self, endpoint_id: str) -> Delivery:
        """Have one `endpoint.test` sent; ask for the delivery to see what came of it."""
        delivery: Delivery
        delivery, _ = self._calls.json("POST", f"{_endpoint(endpoint_id)}/test")
        return delivery

    def enable_endpoint(self, endpoint_id: str) -> Endpoint:
        """Send to it again, from the next event on."""
        enabled: Endpoint
        enabled, _ = self._calls.json("POST", f"{_endpoint(endpoint_id)}/enable")
        return enabled

    def recover_endpoint(self, endpoint_id: str, since: datetime | str) -> Recovering:
        """Have everything sent that it should have got since then and has not."""
        text = since.isoformat() if isinstance(since, datetime) else since
        recovering: Recovering
        recovering, _ = self._calls.json("POST", f"{_endpoint(endpoint_id)}/recover", body={"since": text})
        return recovering

    def deliveries(self, **filters: Any) -> Iterator[Delivery]:
        """The log of what is sent, newest first, by `track_id`, `endpoint_id` and `status` (a list means any of it)."""
        return self._calls.pages(
            "/v1/deliveries", {name: value for name, value in filters.items() if value is not None}
        )

    def delivery(self, delivery_id: str) -> Delivery:
        """With its body and every try."""
        found: Delivery
        found, _ = self._calls.json("GET", _delivery(delivery_id))
        return found

    def retry_delivery(self, delivery_id: str) -> Delivery:
        """Send it again now, with the same id and body."""
        retried: Delivery
        retried, _ = self._calls.json("POST", f"{_delivery(delivery_id)}/retry")
        return retried

    def webhook_secret(self) -> str:
        """What verifies the webhooks that jobs name themselves."""
        said, _ = self._calls.json("GET", DEFAULT_SECRET)
        return str(said["key"])

    def rotate_webhook_secret(self, *, overlap_s: int = 86_400) -> str:
        """A new one; the old one signs too for so many seconds."""
        said, _ = self._calls.json("POST", f"{DEFAULT_SECRET}/rotate", body={"overlap_s": overlap_s})
        return str(said["key"])


def _endpoint(endpoint_id: str) -> str:
    return f"/v1/endpoints/{quote(endpoint_id, safe='')}"


def _delivery(delivery_id: str) -> str:
    return f"/v1/deliveries/{quote(delivery_id, safe='')}"
