"""The provider over HTTP: `provider.port.Provider` for ModelsLab. The API key lives here and leaves in bodies only."""

import ssl

from webhook_app.domain.erasure import ProviderCopy
from webhook_app.domain.outcome import CallbackReading, NotSent, PollAnswer, SubmitAnswer, Unconfirmed, Unread
from webhook_app.net.guard import trusted_tls
from webhook_app.net.proxy import Proxy
from webhook_app.provider.modelslab import wire
from webhook_app.provider.modelslab.body import SHORTEST_SECRET
from webhook_app.provider.modelslab.exchange import Answer, Fault, Road, post
from webhook_app.provider.modelslab.request import (
    build_deletion,
    build_request,
    delete_url,
    encode,
    fetch_url,
    submit_url,
)
from webhook_app.provider.port import Submission

FETCH_TIMEOUT_S = 30.0
# The contract page, 6.1.
OUTPUT_HOSTS = frozenset(
    {
        "pub-3626123a908346a7a8be8d9295f44e26.r2.dev",
        "pub-8b49af329fae499aa563997f5d4068a4.r2.dev",
        "modelslab-bom.s3.amazonaws.com",
        "cdn2.stablediffusionapi.com",
        "cdn.stablediffusionapi.com",
        "assets.modelslab.ai",
        "d1okzptojspljx.cloudfront.net",
        "d9jy2smsrdjcq.cloudfront.net",
        "cdn.modelslab.com",
    }
)


class ModelsLab:
    """`base_url` is the enterprise base, `https://modelslab.com/api/v1/enterprise`. An empty key still reads callbacks
    and sends nothing. `tls` is for servers with certificates of one's own; None means the public authorities."""

    name = "modelslab"

    def __init__(
        self,
        key: str,
        base_url: str,
        extra_output_hosts: frozenset[str] = frozenset(),
        *,
        proxy: Proxy | None = None,
        connect_timeout_s: float = 10.0,
        total_timeout_s: float = 75.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._key = key
        self._base_url = base_url
        self._output_hosts = OUTPUT_HOSTS | extra_output_hosts
        self._road = Road(tls or trusted_tls(), connect_timeout_s, proxy)
        self._total_timeout_s = total_timeout_s

    def __repr__(self) -> str:
        return f"ModelsLab({self._base_url!r})"

    @property
    def output_hosts(self) -> frozenset[str]:
        return self._output_hosts

    def submit(self, submission: Submission) -> SubmitAnswer:
        """Ask for pictures, once. `NotSent` only where the connection provably never stood."""
        if not self._key:
            return NotSent("there is no API key")
        url = submit_url(self._base_url, submission.model)
        body = encode(build_request(self._key, submission))
        answer = post(url, body, road=self._road, total_timeout_s=self._total_timeout_s)
        match answer:
            case Fault(reason=reason, sent=False):
                return NotSent(reason)
            case Fault(reason=reason):
                return Unconfirmed(reason)
            case Answer():
                return wire.read_submit(answer.http_status, answer.headers, answer.body, secret=self._key)

    def fetch(self, model: str, provider_job_id: str, track_id: str) -> PollAnswer:
        """Ask how a job is. May be repeated at will."""
        if not self._key:
            return Unread("there is no API key")
        url = fetch_url(self._base_url, model, provider_job_id)
        timeout_s = min(FETCH_TIMEOUT_S, self._total_timeout_s)
        answer = post(url, encode({"key": self._key}), road=self._road, total_timeout_s=timeout_s)
        if isinstance(answer, Fault):
            return Unread(answer.reason)
        asked = (provider_job_id, track_id)
        return wire.read_fetch(answer.http_status, answer.body, asked=asked, secret=self._key)

    def delete_copy(self, provider_job_id: str) -> ProviderCopy | None:
        """Ask to delete the pictures of a job. Without a key nobody can be asked."""
        if not self._key:
            return None
        body = encode(build_deletion(self._key, provider_job_id))
        timeout_s = min(FETCH_TIMEOUT_S, self._total_timeout_s)
        answer = post(delete_url(self._base_url), body, road=self._road, total_timeout_s=timeout_s)
        return None if isinstance(answer, Fault) else wire.read_deletion(answer.http_status, answer.body)

    def read_callback(self, body: bytes, content_type: str | None) -> CallbackReading:
        """Read what was posted to us."""
        return wire.read_callback(body, content_type, secret=self._key)

    def redact(self, body: bytes) -> bytes:
        if len(self._key) < SHORTEST_SECRET:
            return body  # So short a key would hit ordinary words.
        for form in {self._key, self._key.replace("/", r"\/")}:
            body = body.replace(form.encode(), b"***")
        return body
