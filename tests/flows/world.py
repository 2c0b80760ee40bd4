"""A small world round the flows: a clock that is turned by hand, a provider that follows a script, and short ways to
act and to look. The provider is a fake at its port; everything else is real."""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row, select

from webhook_app.domain.advance import Verdict
from webhook_app.domain.erasure import ProviderCopy
from webhook_app.domain.job import OnUnconfirmed, Scope
from webhook_app.domain.outcome import (
    CallbackReading,
    Finished,
    Outcome,
    Picture,
    PollAnswer,
    Running,
    SubmitAnswer,
    Unread,
)
from webhook_app.flows import accept, keys, receive, reconcile, submit
from webhook_app.flows.accept import Accepted, Idempotency, JobRequest
from webhook_app.flows.policy import Policy
from webhook_app.flows.receive import Arrival
from webhook_app.flows.room import QueueRoom
from webhook_app.flows.submit import Claim
from webhook_app.provider.port import Provider, Submission
from webhook_app.store.engine import Store
from webhook_app.store.tables import Attempt, Base, Callback, Client, EventRow, Image, Job, ProviderState, Slot

BEGINNING = datetime(2026, 3, 1, 12, tzinfo=UTC)
KNOWN = "https://known.example/"
POLICY = Policy(
    attempts_allowed=3,
    confirm_after=timedelta(seconds=120),
    on_unconfirmed=OnUnconfirmed.REPEAT,
    repeats_per_hour=100,
    max_in_flight=5,
    host_known=lambda url: url.startswith(KNOWN),
)


def success(*urls: str, **more: Any) -> Finished:
    """Pictures 0, 1, … at these addresses; one at a known host when none is named."""
    pictures = tuple(Picture(index, (url,)) for index, url in enumerate(urls or (f"{KNOWN}0.png",)))
    return Finished(pictures, **more)


@dataclass
class Script:
    """A provider that answers what it was told to, and keeps its own ledger."""

    name: str = "modelslab"
    output_hosts: frozenset[str] = frozenset({"known.example"})
    answers: deque[SubmitAnswer] = field(default_factory=deque)
    polls: deque[PollAnswer] = field(default_factory=deque)
    during: Callable[[Submission], None] | None = None
    during_fetch: Callable[[], object] | None = None
    submitted: list[Submission] = field(default_factory=list)
    polled: list[str] = field(default_factory=list)
    deletions: deque[ProviderCopy | None] = field(default_factory=deque)
    asked_to_delete: list[str] = field(default_factory=list)
    bodies: dict[bytes, CallbackReading] = field(default_factory=dict)

    def submit(self, submission: Submission) -> SubmitAnswer:
        self.submitted.append(submission)
        if self.during is not None:
            self.during(submission)
        return self.answers.popleft() if self.answers else Running(f"p{len(self.submitted)}", 5.0)

    def fetch(self, model: str, provider_job_id: str, track_id: str) -> PollAnswer:
        self.polled.append(provider_job_id)
        if self.during_fetch is not None:
            self.during_fetch()
        return self.polls.popleft() if self.polls else Unread("the script is silent")

    def delete_copy(self, provider_job_id: str) -> ProviderCopy | None:
        self.asked_to_delete.append(provider_job_id)
        return self.deletions.popleft() if self.deletions else ProviderCopy.DELETED

    def read_callback(self, body: bytes, content_type: str | None) -> CallbackReading:
        return self.bodies.get(body, CallbackReading(None, problem="no JSON"))

    def redact(self, body: bytes) -> bytes:
        return body


class World:
    def __init__(self, store: Store, policy: Policy = POLICY) -> None:
        self.store, self.policy = store, policy
        self.at = BEGINNING
        self.script = Script()
        self.providers: Mapping[str, Provider] = {"modelslab": self.script}
        self.key_id, _ = keys.create_key(store, client="acme", name="test", scopes=[Scope.SUBMIT], now=self.at)
        self.client_id = self.client("acme")

    # Acts

    def now(self) -> datetime:
        return self.at

    def later(self, **span: float) -> None:
        self.at += timedelta(**span)

    def obey(self, **rules: Any) -> None:
        self.policy = replace(self.policy, **rules)

    def client(self, name: str) -> str:
        keys.create_client(self.store, name=name, now=self.at)
        with self.store.reading() as connection:
            return connection.execute(select(Client.client_id).where(Client.name == name)).scalar_one()

    def accept(
        self,
        *,
        client_id: str | None = None,
        key: Idempotency | None = None,
        max_queued: int = 10_000,
        samples: int = 1,
        timeout_s: int = 900,
        input: dict[str, Any] | None = None,
        **more: Any,
    ) -> Accepted:
        asked = {"prompt": "a horse", "samples": samples} | (input or {})
        request = JobRequest("modelslab", "flux/text2img", asked, timeout_s, **more)
        return accept.accept(
            self.store,
            request,
            client_id=client_id or self.client_id,
            key_id=self.key_id,
            idempotency_key=key,
            location_for=lambda track_id: f"/v1/jobs/{track_id}",
            room=QueueRoom(max_queued),
            now=self.at,
        )

    def submit(self, **more: Any) -> str:
        return self.accept(**more).track_id

    def claim(self, *, owner: str = "w1", limit: int = 10) -> list[Claim]:
        return submit.claim(self.store, provider="modelslab", owner=owner, limit=limit, policy=self.policy, now=self.at)

    def send_claim(self, claim: Claim, *answers: SubmitAnswer, owner: str = "w1") -> None:
        self.script.answers.extend(answers)
        submit.send(
            self.store,
            self.script,
            claim,
            owner=owner,
            callback_url=lambda track_id, attempt: f"https://us.example/{track_id}/{attempt}",
            policy=self.policy,
            clock=self.now,
        )

    def send(self, *answers: SubmitAnswer) -> int:
        """Claim and send what is due; returns how many jobs went out."""
        self.script.answers.extend(answers)
        claims = self.claim()
        for claim in claims:
            self.send_claim(claim)
        return len(claims)

    def body(self, outcome: Outcome | None, *, names: str | None = None, salt: str = "") -> bytes:
        """The bytes of a callback that the script reads as this outcome."""
        raw = f"{outcome!r} {names} {salt}".encode()
        self.script.bodies[raw] = CallbackReading(outcome, names, None if outcome else "says nothing")
        return raw

    def arrival(self, track_id: str, body: bytes, attempt: int = 1) -> Arrival:
        headers = {"user-agent": "provider"}
        return Arrival("modelslab", track_id, attempt, body, "application/json", headers, "192.0.2.1", self.at)

    def receive(self, *arrivals: Arrival) -> list[Verdict]:
        return receive.receive(self.store, arrivals, self.providers, self.at, self.policy)

    def hear(self, track_id: str, outcome: Outcome, attempt: int = 1) -> Verdict:
        return self.receive(self.arrival(track_id, self.body(outcome), attempt))[0]

    def poll(self, *answers: PollAnswer, limit: int = 10) -> int:
        self.script.polls.extend(answers)
        return reconcile.poll_due(self.store, self.providers, limit=limit, policy=self.policy, clock=self.now)

    def expire(self) -> int:
        return reconcile.expire(self.store, policy=self.policy, now=self.at)

    # Looks

    def rows(self, table: type[Base], *where: Any, order: Any = None) -> list[Row[Any]]:
        with self.store.reading() as connection:
            return list(connection.execute(select(table.__table__).where(*where).order_by(order)))

    def job(self, track_id: str) -> Row[Any]:
        return self.rows(Job, Job.track_id == track_id)[0]

    def attempts(self, track_id: str) -> list[Row[Any]]:
        return self.rows(Attempt, Attempt.track_id == track_id, order=Attempt.n)

    def images(self, track_id: str) -> list[Row[Any]]:
        return self.rows(Image, Image.track_id == track_id, order=Image.index)

    def callbacks(self) -> list[Row[Any]]:
        return self.rows(Callback, order=Callback.received_at)

    def events(self, track_id: str | None = None) -> list[str]:
        where = () if track_id is None else (EventRow.track_id == track_id,)
        return [row.type for row in self.rows(EventRow, *where, order=EventRow.position)]

    def slots_held(self) -> Counter[str]:
        rows = self.rows(Slot, Slot.track_id.is_not(None), Slot.free_at >= self.at)
        return Counter(row.track_id for row in rows)

    def pause(self) -> str | None:
        rows = self.rows(ProviderState)
        return rows[0].paused_reason if rows else None
