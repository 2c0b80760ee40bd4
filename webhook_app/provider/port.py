"""What the flows ask of a provider. Adapters turn every foreign answer and exception into a value; none of these raises
for what a provider or a network can do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from webhook_app.domain.erasure import ProviderCopy
from webhook_app.domain.outcome import CallbackReading, PollAnswer, SubmitAnswer


@dataclass(frozen=True, slots=True)
class Submission:
    """One submit of one attempt. `input` is the job's normalised input; key, webhook and track_id are added here."""

    track_id: str
    model: str
    input: Mapping[str, Any]
    callback_url: str | None


class Provider(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def output_hosts(self) -> frozenset[str]:
        """Hosts known to serve this provider's pictures: `name`, `name:port` or `*.suffix`."""
        ...

    def submit(self, submission: Submission) -> SubmitAnswer:
        """Ask for pictures, once, on a fresh connection with no retry; at most 75 s in all."""
        ...

    def fetch(self, model: str, provider_job_id: str, track_id: str) -> PollAnswer:
        """Ask how a job is. A fault of the call, and an answer about another job, is `Unread`."""
        ...

    def delete_copy(self, provider_job_id: str) -> ProviderCopy | None:
        """Ask to delete the pictures of a job: `DELETED` or `REFUSED`; None without an answer. May be repeated."""
        ...

    def read_callback(self, body: bytes, content_type: str | None) -> CallbackReading:
        """Read what was POSTed to us. Pure: no clock, no socket."""
        ...

    def redact(self, body: bytes) -> bytes:
        """The body without our credentials, should the provider have sent them back: what may be kept. Pure."""
        ...
