"""A world with receivers of webhooks: the network is acted at its port, everything else is real."""

from collections import defaultdict, deque
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row
from standardwebhooks import Webhook

from tests.flows.world import World
from webhook_app.domain.vault import Vault
from webhook_app.domain.webhooks import Answered
from webhook_app.flows import notify, redeliver, seal, subscribe
from webhook_app.flows.announce import announce
from webhook_app.flows.cancel import cancel
from webhook_app.flows.show import Addresses
from webhook_app.store.tables import Delivery, DeliveryAttempt, Endpoint, Receiver

URL = "https://client.example/hooks"
OK = Answered(200, 0.01, excerpt="thanks")
ADDRESSES = Addresses("https://us.example", lambda image_id, _now: f"https://us.example/images/{image_id}.png")


def refused(status: int = 500, **more: Any) -> Answered:
    return Answered(status, 0.01, **more)


class Net:
    """A `Sender` that answers each URL in turn, the last answer stays; and keeps what it was given."""

    def __init__(self) -> None:
        self.answers: dict[str, deque[Answered]] = defaultdict(lambda: deque([OK]))
        self.sent: list[tuple[str, bytes, dict[str, str]]] = []

    def answer(self, url: str, *answers: Answered) -> None:
        self.answers[url] = deque(answers)

    def may_name(self, url: str) -> bool:
        return False

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answered:
        self.sent.append((url, body, dict(headers)))
        waiting = self.answers[url]
        return waiting.popleft() if len(waiting) > 1 else waiting[0]


class Postman:
    """The world's clock is not touched: who verifies signatures turns it to now, where the standard's library looks."""

    def __init__(self, world: World) -> None:
        self.world, self.net = world, Net()
        self.vault = Vault(("a secret of the tests",))

    # Acts

    def endpoint(self, url: str = URL, *events: str, client_id: str | None = None) -> tuple[str, str]:
        """An endpoint's id and its secret."""
        asked = subscribe.NewEndpoint(url, list(events) or None, None)
        client_id = client_id or self.world.client_id
        return subscribe.subscribe(self.world.store, self.vault, asked, client_id=client_id, now=self.world.at)

    def seal(self) -> None:
        world = self.world

        def tell(connection: Any, first: int, last: int) -> None:
            announce(connection, first=first, last=last, addresses=ADDRESSES, now=world.at)

        while seal.seal(world.store, tell=tell):
            pass

    def ended(self, **more: Any) -> str:
        """A canceled job, its events sealed."""
        track_id = self.world.submit(**more)
        self.cancel(track_id)
        return track_id

    def cancel(self, track_id: str) -> None:
        cancel(self.world.store, track_id, by="key:k", now=self.world.at)
        self.seal()

    def claim(self, *, owner: str = "w1", limit: int = 64) -> list[notify.Claim]:
        world = self.world
        return notify.claim(world.store, self.vault, owner=owner, limit=limit, crew=64, now=world.at)

    def post(self, claim: notify.Claim) -> notify.Sent:
        return notify.send(self.net, claim, clock=self.world.now)

    def record(self, *sent: notify.Sent) -> int:
        return notify.record(self.world.store, sent, now=self.world.at)

    def tick(self) -> int:
        """Send what is due, once each; returns how many."""
        claims = self.claim()
        self.record(*(self.post(claim) for claim in claims))
        return len(claims)

    def next(self) -> float:
        """Turn the clock to what is due next and send it; returns how many seconds that were."""
        due = min(row.due_at for row in self.deliveries() if row.due_at is not None)
        span = (due - self.world.at).total_seconds()
        self.world.at = max(due, self.world.at)
        self.tick()
        return span

    def recover(self) -> int:
        return redeliver.recover_due(self.world.store, ADDRESSES, now=self.world.at)

    # Looks

    def deliveries(self, *where: Any) -> list[Row[Any]]:
        return self.world.rows(Delivery, *where, order=Delivery.created_at)

    def delivery(self, *where: Any) -> Row[Any]:
        (row,) = self.deliveries(*where)
        return row

    def attempts(self, delivery_id: str) -> list[Row[Any]]:
        return self.world.rows(DeliveryAttempt, DeliveryAttempt.delivery_id == delivery_id, order=DeliveryAttempt.n)

    def endpoint_row(self, endpoint_id: str) -> Row[Any]:
        return self.world.rows(Endpoint, Endpoint.endpoint_id == endpoint_id)[0]

    def breakers(self) -> list[Row[Any]]:
        return self.world.rows(Receiver)


def verified(secret: str, body: bytes, headers: Mapping[str, str]) -> Any:
    """The body, as the standard's own library verifies it; only within five minutes of its timestamp."""
    return Webhook(secret).verify(body, dict(headers))
