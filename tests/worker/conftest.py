"""An installation in a folder: a real database, a real archive, and a provider that answers as it is told."""

import dataclasses
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from webhook_app import wiring
from webhook_app.domain.job import Scope
from webhook_app.domain.outcome import CallbackReading, PollAnswer, Running, SubmitAnswer, Unread
from webhook_app.flows.accept import JobRequest, accept
from webhook_app.flows.keys import create_client, create_key
from webhook_app.flows.room import QueueRoom
from webhook_app.provider.port import Submission
from webhook_app.settings import load_settings
from webhook_app.store import reads
from webhook_app.store.migrations import upgrade
from webhook_app.wiring import Parts


class ActedProvider:
    """A `Provider` that holds each submit until `answer` is allowed, and then says "processing"."""

    name = "modelslab"
    output_hosts: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.submitted: list[Submission] = []
        self.got_one = threading.Event()
        self.answer = threading.Event()
        self.answer.set()

    def submit(self, submission: Submission) -> SubmitAnswer:
        self.submitted.append(submission)
        self.got_one.set()
        self.answer.wait(30)
        return Running(provider_job_id=str(len(self.submitted)), eta_s=60)

    def fetch(self, model: str, provider_job_id: str, track_id: str) -> PollAnswer:
        return Unread("not asked")

    def read_callback(self, body: bytes, content_type: str | None) -> CallbackReading:
        return CallbackReading(None, problem="not asked")

    def redact(self, body: bytes) -> bytes:
        return body


@dataclasses.dataclass
class Installed:
    parts: Parts
    provider: ActedProvider
    client_id: str

    def submit(self, prompt: str = "a lighthouse") -> str:
        request = JobRequest("modelslab", "flux/text2img", {"prompt": prompt, "samples": 1}, timeout_s=900)
        accepted = accept(
            self.parts.store,
            request,
            client_id=self.client_id,
            key_id="key_test",
            location_for=lambda track_id: track_id,
            room=QueueRoom(1000),
            now=datetime.now(UTC),
        )
        return accepted.track_id

    def job(self, track_id: str) -> Mapping[str, Any]:
        with self.parts.store.reading() as connection:
            found = reads.job(connection, track_id, None)
        assert found is not None
        return found


def install(folder: Path, **variables: str) -> Installed:
    settings = load_settings({"DATA_DIR": str(folder), "MODELSLAB_API_KEY": "a-provider-key", **variables})
    upgrade(settings.database_url)
    provider = ActedProvider()
    parts = dataclasses.replace(wiring.build(settings), providers={"modelslab": provider})
    now = datetime.now(UTC)
    create_key(parts.store, client="test", name="", scopes=list(Scope), now=now)
    return Installed(parts, provider, create_client(parts.store, name="test", now=now))


@pytest.fixture
def installed(tmp_path: Path):
    made = install(tmp_path, SHUTDOWN_GRACE_S="5")
    yield made
    made.provider.answer.set()
    made.parts.store.dispose()
