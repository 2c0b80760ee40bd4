"""The bucket: the contract on a real service, and what only a service can do wrong."""

import logging
import os
import threading
import traceback
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import urllib3

from tests.buckets import GUEST, KEYS, Service
from tests.faults.proxy import Ending, Fate, proxy
from tests.storage.contract import KEY, StorageContract
from webhook_app.domain.errors import StorageError
from webhook_app.storage.location import Bucket, location
from webhook_app.storage.s3 import S3Storage


def bucket(url: str) -> Bucket:
    place = location(url)
    assert isinstance(place, Bucket)
    return place


@pytest.fixture
def prefix() -> str:
    return f"tests/{uuid.uuid4().hex}"


@pytest.fixture
def storage(s3: Service, prefix: str) -> S3Storage:
    return S3Storage(bucket(s3.url(prefix)))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(os.urandom(200_000))
    return path


class TestS3Storage(StorageContract):
    """The contract in a bucket."""


def test_objects_lie_below_the_prefix_and_the_check_leaves_none(
    storage: S3Storage, s3: Service, prefix: str, source: Path
) -> None:
    storage.check()
    assert s3.objects(prefix) == []
    storage.put_if_absent(KEY, source, "image/png")
    assert s3.objects(prefix) == [f"{prefix}/{KEY}"]


def test_streaming_gives_no_address_and_redirecting_gives_one_that_serves_the_bytes_as_a_picture(
    storage: S3Storage, s3: Service, prefix: str, source: Path
) -> None:
    storage.put_if_absent(KEY, source, "image/png")
    assert storage.temporary_url(KEY, "image/png", "job-0.png") is None
    address = S3Storage(bucket(s3.url(prefix, serve="redirect"))).temporary_url(KEY, "image/png", "job-0.png")
    assert address is not None
    answer = urllib3.request("GET", address)
    assert (answer.status, answer.data) == (200, source.read_bytes())
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Content-Disposition"] == 'inline; filename="job-0.png"'
    assert urllib3.request("DELETE", address).status == 403
    for told, other in (("abcdef", "abcdeg"), ("image%2Fpng", "text%2Fhtml"), ("job-0.png", "job-0.html")):
        assert told in address
        assert urllib3.request("GET", address.replace(told, other)).status == 403


def test_an_object_that_was_stored_as_a_page_is_answered_as_a_picture(
    storage: S3Storage, s3: Service, source: Path
) -> None:
    """Somebody else's hand in the bucket; and a prefix whose characters an address has to escape."""
    prefix = f"tests/{uuid.uuid4().hex}/a=b"
    S3Storage(bucket(s3.url(prefix))).replace(KEY, source, "text/html")
    address = S3Storage(bucket(s3.url(prefix, serve="redirect"))).temporary_url(KEY, "image/webp", "job-0-256.webp")
    assert address is not None
    answer = urllib3.request("GET", address, headers={"Range": "bytes=10-19"})
    assert (answer.status, answer.data) == (206, source.read_bytes()[10:20])
    assert answer.headers["Content-Type"] == "image/webp"
    assert answer.headers["Content-Disposition"] == 'inline; filename="job-0-256.webp"'


def test_an_address_signed_with_keys_of_a_role_is_left_as_it_is(
    s3: Service, prefix: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys are obstore's secret then: other ones that stand in the environment must not sign."""
    storage = S3Storage(bucket(s3.url(prefix, serve="redirect")))
    storage.replace(KEY, source, "image/png")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody-else")
    address = storage.temporary_url(KEY, "image/png", "job-0.png")
    assert address is not None
    assert "response-content" not in address
    answer = urllib3.request("GET", address)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "image/png")
    assert answer.headers["Content-Disposition"] == 'inline; filename="abcdef.png"'


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        (KEYS | {"AWS_SECRET_ACCESS_KEY": "not-the-secret"}, "the secret key is wrong"),
        (KEYS | {"AWS_ACCESS_KEY_ID": "not-the-key"}, "the access key is not known"),
        (GUEST, "do not allow it"),
    ],
)
def test_credentials_that_do_not_fit_are_named_and_not_shown(
    s3: Service,
    prefix: str,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    keys: dict[str, str],
    why: str,
) -> None:
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    storage = S3Storage(bucket(s3.url(prefix)))
    with caplog.at_level(logging.INFO), pytest.raises(StorageError, match=why) as caught:
        storage.put_if_absent(KEY, source, "image/png")
    with pytest.raises(StorageError, match=why):
        storage.check()
    told = f"{''.join(traceback.format_exception(caught.value))} {storage!r} {storage.describe()} {caplog.text}"
    for secret in (*keys.values(), "X-Amz-"):
        assert secret not in told
    assert s3.objects(prefix) == []


def test_a_bucket_that_is_missing_is_no_missing_object(s3: Service, source: Path) -> None:
    storage = S3Storage(bucket(s3.url("here", bucket="not-made")))
    for act in (
        storage.size,
        storage.read,
        storage.delete,
        lambda key: storage.put_if_absent(key, source, "image/png"),
    ):
        with pytest.raises(StorageError, match="there is no such bucket"):
            act(KEY)
    with pytest.raises(StorageError, match="there is no such bucket"):
        storage.check()


def test_a_service_that_is_not_there_is_an_error(s3: Service, prefix: str, source: Path, free_port: int) -> None:
    storage = S3Storage(bucket(s3.url(prefix, endpoint=f"http://127.0.0.1:{free_port}")))
    with pytest.raises(StorageError, match="cannot be reached"):
        storage.put_if_absent(KEY, source, "image/png")


def test_an_answer_that_is_lost_after_the_object_was_stored_leaves_one_object(
    s3: Service, prefix: str, source: Path
) -> None:
    with proxy(("127.0.0.1", s3.ports["s3.port"])) as line:
        storage = S3Storage(bucket(s3.url(prefix, endpoint=f"http://127.0.0.1:{line.port}")))
        once = line.lose(b"PUT /", b"HTTP/1.1 200")
        storage.put_if_absent(KEY, source, "image/png")
        once.wait()
        twice = line.lose(b"PUT /", b"HTTP/1.1", times=2)
        with pytest.raises(StorageError, match="the connection broke"):
            storage.put_if_absent("blobs/other", source, "image/png")
        twice.wait(2)
        assert storage.put_if_absent("blobs/other", source, "image/png") is False
        assert b"".join(storage.read(KEY)) == b"".join(storage.read("blobs/other")) == source.read_bytes()
    assert s3.objects(prefix) == [f"{prefix}/{KEY}", f"{prefix}/blobs/other"]


def test_an_object_that_is_cut_on_its_way_is_an_error_and_no_short_object(
    storage: S3Storage, s3: Service, prefix: str, source: Path
) -> None:
    storage.put_if_absent(KEY, source, "image/png")
    fate = Fate(cut_after=100_000, ending=Ending.CLOSE)
    with proxy(("127.0.0.1", s3.ports["s3.port"]), lambda number: fate) as line:
        cut = S3Storage(bucket(s3.url(prefix, endpoint=f"http://127.0.0.1:{line.port}")))
        with pytest.raises(StorageError, match="the connection broke"):
            b"".join(cut.read(KEY))


class Busy(BaseHTTPRequestHandler):
    """A service that has enough to do."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
        self.send_response(503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_PUT = do_DELETE = do_GET

    def log_message(self, *_: object) -> None:
        pass


def test_a_service_that_asks_to_slow_down_is_an_error_that_says_so(s3: Service, prefix: str, source: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        storage = S3Storage(bucket(s3.url(prefix, endpoint=f"http://127.0.0.1:{server.server_port}")))
        for act in (
            storage.size,
            storage.read,
            storage.delete,
            lambda key: storage.put_if_absent(key, source, "image/png"),
            lambda key: storage.replace(key, source, "image/png"),
        ):
            with pytest.raises(StorageError, match=r"it asks to slow down \(503 SlowDown\)"):
                act(KEY)
        server.shutdown()


class Simple(BaseHTTPRequestHandler):
    """A service that keeps objects, and knows no conditions."""

    protocol_version = "HTTP/1.1"
    kept: ClassVar[dict[str, bytes]] = {}
    puts: ClassVar[list[bool]] = []

    def do_GET(self) -> None:
        found = self.kept.get(self.path.partition("?")[0])
        self._answer(200, found) if found is not None else self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.puts.append("If-None-Match" in self.headers)
        if self.puts[-1]:
            self._answer(501, b"<Error><Code>NotImplemented</Code></Error>")
        else:
            self.kept[self.path.partition("?")[0]] = body
            self._answer(200, b"")

    def do_DELETE(self) -> None:
        self.kept.pop(self.path.partition("?")[0], None)
        self._answer(200, b"")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_a_service_that_knows_no_conditions_is_asked_for_one_once(s3: Service, prefix: str, source: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Simple) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        storage = S3Storage(bucket(s3.url(prefix, endpoint=f"http://127.0.0.1:{server.server_port}")))
        storage.check()
        assert [storage.put_if_absent(key, source, "image/png") for key in (KEY, KEY, "blobs/other")] == [
            True,
            False,
            True,
        ]
        assert b"".join(storage.read(KEY)) == b"".join(storage.read("blobs/other")) == source.read_bytes()
        server.shutdown()
    assert Simple.puts == [False, True, False, False]


def test_a_service_that_falls_silent_is_not_waited_for(s3: Service, prefix: str, source: Path) -> None:
    fate = Fate(cut_after=0, ending=Ending.SILENCE)
    with proxy(("127.0.0.1", s3.ports["s3.port"]), lambda number: fate) as line:
        endpoint = f"http://127.0.0.1:{line.port}"
        storage = S3Storage(bucket(s3.url(prefix, endpoint=endpoint)), silence_s=0.3)
        with pytest.raises(StorageError, match="does not answer in time"):
            storage.put_if_absent(KEY, source, "image/png")


def test_without_credentials_it_says_what_is_missing(
    s3: Service, prefix: str, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    for name in KEYS:
        monkeypatch.delenv(name)
    # Where an instance would be asked for its role: nobody is there.
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://127.0.0.1:{free_port}")
    with pytest.raises(StorageError, match="no credentials were found"):
        S3Storage(bucket(s3.url(prefix))).size(KEY)
