"""The application over a real database and a directory for its archive, with hands to put things behind its doors."""

import hashlib
import io
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import insert, update

from webhook_app.domain.keys import blob_key, thumbnail_key
from webhook_app.domain.outcome import CallbackReading, Finished, Picture, PollAnswer, SubmitAnswer, Unread
from webhook_app.domain.tokens import Tokens
from webhook_app.domain.vault import Vault
from webhook_app.flows.accept import JobRequest, accept
from webhook_app.flows.keys import create_client
from webhook_app.flows.room import QueueRoom
from webhook_app.net.port import Fetched
from webhook_app.net.post import GuardedSender
from webhook_app.pictures.port import Inspected
from webhook_app.provider.port import Submission
from webhook_app.settings import load_settings
from webhook_app.storage.spool import FileSpool
from webhook_app.store.engine import Store
from webhook_app.store.tables import Attempt, Blob, Image, Job
from webhook_app.web.app import create_app
from webhook_app.wiring import Parts, storage_of

KNOWN_HOST = "https://pictures.example"


class Studio:
    """A provider that takes nothing; its callbacks say `{"pictures": [urls]}`."""

    name = "modelslab"
    output_hosts: frozenset[str] = frozenset({"pictures.example"})

    def submit(self, submission: Submission) -> SubmitAnswer:
        raise AssertionError("the web process submits nothing")

    def fetch(self, model: str, provider_job_id: str, track_id: str) -> PollAnswer:
        return Unread("not_asked")

    def read_callback(self, body: bytes, content_type: str | None) -> CallbackReading:
        try:
            said = orjson.loads(body)
        except orjson.JSONDecodeError:
            return CallbackReading(None, problem="not JSON")
        sources = said.get("pictures", [])
        return CallbackReading(Finished(tuple(Picture(n, (url,)) for n, url in enumerate(sources))))

    def redact(self, body: bytes) -> bytes:
        return body


class Nowhere:
    """A fetcher that knows one host and fetches nothing."""

    def host_known(self, url: str) -> bool:
        return url.startswith(KNOWN_HOST + "/")

    def fetch(self, url: str, sink: Any) -> Fetched:
        raise AssertionError("the web process fetches nothing")


class Blind:
    """An inspector that is never asked: no picture is decoded in the web process."""

    def inspect(self, path: Path, *, base64_text: bool) -> Inspected:
        raise AssertionError("the web process decodes nothing")


class Doors:
    """The application, and hands to put things behind it."""

    def __init__(self, store: Store, directory: Path, env: Mapping[str, str] | None = None) -> None:
        self.store = store
        settings = load_settings(
            {"DATA_DIR": str(directory / "data"), "SECRET_KEY": "a secret of the tests"} | dict(env or {})
        )
        self.parts = Parts(
            settings=settings,
            store=store,
            tokens=Tokens(settings.secret_keys),
            providers={"modelslab": Studio()},
            fetcher=Nowhere(),
            sender=GuardedSender(frozenset()),
            vault=Vault(settings.secret_keys),
            storage=storage_of(settings),
            inspector=Blind(),
            spool=FileSpool(settings.spool_dir),
        )
        self.app = create_app(self.parts)
        self.http = self.app.test_client()
        self._directory = directory

    def job(self, client: str = "tests", samples: int = 1) -> tuple[str, list[str]]:
        """A queued job: its track_id and its pictures' ids."""
        now = datetime.now(UTC)
        client_id = create_client(self.store, name=client, now=now)
        request = JobRequest(
            "modelslab", "flux/text2img", {"prompt": "a lighthouse", "samples": samples}, timeout_s=900
        )
        accepted = accept(
            self.store,
            request,
            client_id=client_id,
            key_id="key_x",
            location_for=lambda track_id: track_id,
            room=QueueRoom(1000),
            now=now,
        )
        with self.store.reading() as connection:
            rows = connection.execute(
                Image.__table__.select().where(Image.track_id == accepted.track_id).order_by(Image.index)
            )
            return accepted.track_id, [row.image_id for row in rows]

    def sent_job(self) -> str:
        """A job whose first attempt is with the provider."""
        track_id, _ = self.job()
        now = datetime.now(UTC)
        self.set_job(track_id, status="processing", attempt=1, spent=1, submitted_at=now)
        with self.store.writing() as connection:
            connection.execute(insert(Attempt).values(track_id=track_id, n=1, sent_at=now, evidence="running"))
        return track_id

    def set_job(self, track_id: str, **values: Any) -> None:
        with self.store.writing() as connection:
            connection.execute(update(Job).where(Job.track_id == track_id).values(**values))

    def set_image(self, image_id: str, **values: Any) -> None:
        with self.store.writing() as connection:
            connection.execute(update(Image).where(Image.image_id == image_id).values(**values))

    def succeed(self, track_id: str) -> None:
        self.set_job(track_id, status="succeeded", completed_at=datetime.now(UTC), archive_status="pending")

    def archive(
        self, image_id: str, content: bytes, content_type: str = "image/png", sizes: tuple[int, ...] = ()
    ) -> str:
        """Put bytes behind the picture, as the archiver does; returns their SHA-256."""
        sha256 = hashlib.sha256(content).hexdigest()
        source = self._directory / "picture"
        source.write_bytes(content)
        self.parts.storage.put_if_absent(blob_key(sha256), source, content_type)
        for size in sizes:
            source.write_bytes(b"webp of %d" % size)
            self.parts.storage.put_if_absent(thumbnail_key(sha256, size), source, "image/webp")
        facts = {
            "content_type": content_type,
            "bytes": len(content),
            "width": 8,
            "height": 8,
            "thumbnails": list(sizes),
        }
        with self.store.writing() as connection:
            row = {"sha256": sha256, "state": "stored", "reference_count": 1, "created_at": datetime.now(UTC)} | facts
            connection.execute(insert(Blob).values(**row))
        self.set_image(image_id, status="archived", sha256=sha256, archived_at=datetime.now(UTC))
        return sha256

    def callback_path(self, track_id: str, attempt: int = 1) -> str:
        return f"/callbacks/modelslab/{track_id}/{self.parts.tokens.callback('modelslab', track_id, attempt)}"


def drip(content: bytes) -> "io.BufferedReader[io.RawIOBase]":
    """A body without a length, as a chunked request has it."""

    class Drops(io.RawIOBase):
        def __init__(self) -> None:
            self.left: Iterator[bytes] = iter([content[at : at + 65_536] for at in range(0, len(content), 65_536)])

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            piece = next(self.left, b"")[: len(buffer)]
            buffer[: len(piece)] = piece
            return len(piece)

    return io.BufferedReader(Drops(), 65_536)
