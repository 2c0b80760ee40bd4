"""The archive as a bucket of any S3-compatible service. obstore finds the credentials and signs addresses; the bytes go
through Python's own sockets, in pieces, so that no picture is held whole and gevent's hub never waits."""

import base64
import contextlib
import hashlib
import os
import re
import secrets
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)

from webhook_app.domain.errors import StorageError
from webhook_app.domain.media import EXTENSIONS, NO_PICTURE
from webhook_app.net.guard import trusted_tls
from webhook_app.storage.blocking import blocking
from webhook_app.storage.location import Bucket, Serve
from webhook_app.storage.names import is_key, parts_of
from webhook_app.storage.port import StoredObject
from webhook_app.storage.signing import answering

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Store

Method = Literal["GET", "PUT", "DELETE"]
CHUNK = 64 * 1024
CONNECT_S, SILENCE_S, UPLOAD_S = 5.0, 15.0, 45.0
SIGNED_FOR = timedelta(seconds=300)
CODE = re.compile(rb"<Code>([A-Za-z0-9.]{1,64})</Code>")
MOST_OF_AN_ERROR, LISTED_AT_ONCE = 4096, 1000
NOT_THERE = "NoSuchKey"
BROKEN = "the connection broke"
# Of the service's error codes (S3 API reference, "Error responses"), those with a cause that people can mend.
WHY = {
    "NoSuchBucket": "there is no such bucket",
    "InvalidAccessKeyId": "the access key is not known there",
    "SignatureDoesNotMatch": "the secret key is wrong",
    "AccessDenied": "the credentials do not allow it",
    "ExpiredToken": "the credentials have expired",
    "SlowDown": "it asks to slow down",
    "PermanentRedirect": "the bucket is in another region",
    "AuthorizationHeaderMalformed": "the bucket is in another region",
}


class S3Storage:
    """A `Storage` in a bucket. Credentials are those of the environment: keys, a web identity, a container's or an
    instance's role. Nothing is opened before the first use, and each process opens its own: obstore hangs in a fork."""

    def __init__(self, bucket: Bucket, *, silence_s: float = SILENCE_S) -> None:
        self._bucket = bucket
        self._timeout = urllib3.Timeout(connect=CONNECT_S, read=silence_s)
        self._opened: tuple[int, S3Store, urllib3.PoolManager] | None = None
        self._conditional = True

    def put_if_absent(self, key: str, source: Path, content_type: str) -> bool:
        """The service decides who was first (`If-None-Match: *`), and compares what it got with the digest. After an
        answer that is lost the request is sent again: then False may be said of an object that this call made.

        A service that knows no conditions says so (501). Then what somebody else has put since the look is replaced:
        by the same bytes, as a key is made of their digest."""
        if self.size(key) is not None:
            return False
        with _readable(source) as file:
            if self._conditional:
                try:
                    return self._store(key, file, content_type, {"If-None-Match": "*"})
                except _NotImplemented:
                    self._conditional = False
            return self._store(key, file, content_type, {})

    def replace(self, key: str, source: Path, content_type: str) -> None:
        """A put is atomic in a bucket."""
        with _readable(source) as file:
            self._store(key, file, content_type, {})

    def _store(self, key: str, file: BinaryIO, content_type: str, condition: Mapping[str, str]) -> bool:
        """False when the condition does not hold. Raises `_NotImplemented` where the service knows none."""
        name = key.rpartition("/")[2].removesuffix(".webp")
        ending = f".{EXTENSIONS[content_type]}" if content_type in EXTENSIONS else ""
        headers = {
            "Content-Type": content_type,
            "Content-Disposition": f'inline; filename="{name}{ending}"',
            "Content-Length": str(file.seek(0, os.SEEK_END)),
            "Content-MD5": _md5(file),
        }
        answer = self._ask("PUT", key, {**headers, **condition}, _Upload(file))
        if answer.status in (412, 501) and condition:
            answer.close()
            if answer.status == 501:
                raise _NotImplemented
            return False
        self._expect(answer, "store", key, 200)
        answer.close()
        return True

    def size(self, key: str) -> int | None:
        """Asked by the first byte: the answer to a HEAD does not tell a missing object from a missing bucket."""
        answer = self._ask("GET", key, {"Range": "bytes=0-0"})
        if answer.status == 416:  # Not even a first byte.
            answer.close()
            return 0
        if self._expect(answer, "look at", key, 200, 206, 404) == 404:
            return None
        told = answer.headers.get("Content-Range", "").rpartition("/")[2] or answer.headers.get("Content-Length", "")
        answer.close() if answer.status == 200 else answer.drain_conn()
        if not told.isdecimal():
            raise self._error("look at", key, "the service does not tell its size")
        return int(told)

    def read(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The object is opened here, not at the first chunk."""
        if length == 0:
            if self.size(key) is None:
                raise self._error("read", key, "it is not there")
            return iter(())
        last = "" if length is None else str(start + length - 1)
        whole = start == 0 and length is None
        answer = self._ask("GET", key, {} if whole else {"Range": f"bytes={start}-{last}"})
        if answer.status == 416:
            answer.close()
            return iter(())
        if self._expect(answer, "read", key, 200 if whole else 206, 404) == 404:
            raise self._error("read", key, "it is not there")
        return self._chunks(answer, key)

    def delete(self, key: str) -> None:
        answer = self._ask("DELETE", key, {})
        self._expect(answer, "remove", key, 200, 204, 404)
        answer.close()

    def objects(self, folder: str, *, after: str | None = None, limit: int = 1000) -> Sequence[StoredObject]:
        """What others put below the prefix is listed too, where its name could be a key."""
        parts_of(folder)
        return blocking(lambda: list(islice(self._listed(folder, after), limit)))

    def _listed(self, folder: str, after: str | None) -> Iterator[StoredObject]:
        import obstore
        from obstore.exceptions import BaseError

        try:
            pages = obstore.list(self._open()[0], folder, offset=after, chunk_size=LISTED_AT_ONCE)
            for found in (each for page in pages for each in page):
                if is_key(found["path"]):
                    yield StoredObject(found["path"], found["size"], found["last_modified"])
        except (BaseError, OSError, ValueError) as error:
            told = CODE.search(str(error).encode())
            raise self._error("list", folder, _why(told[1].decode() if told else "")) from None

    def sweep(self, before: datetime, *, dry_run: bool = False) -> int:
        """Nothing: an interrupted put leaves nothing in a bucket."""
        return 0

    def check(self) -> None:
        key, content = f"check-{secrets.token_hex(8)}", secrets.token_bytes(16)
        self._store(key, BytesIO(content), NO_PICTURE, {})
        try:
            if b"".join(self.read(key)) != content:
                raise StorageError(f"{self.describe()} does not give back what was written")
        finally:
            self.delete(key)

    def describe(self) -> str:
        return self._bucket.describe()

    def temporary_url(self, key: str, content_type: str, filename: str) -> str | None:
        """With a role's credentials the bucket answers as the object was stored: of the same type, and named after its
        digest."""
        parts_of(key)
        if self._bucket.serve is not Serve.REDIRECT:
            return None
        disposition = f'inline; filename="{filename}"'
        overrides = {"response-content-type": content_type, "response-content-disposition": disposition}
        return answering(self._signed("GET", key), overrides)

    def _ask(
        self, method: Method, key: str, headers: Mapping[str, str], body: Iterable[bytes] | None = None
    ) -> urllib3.BaseHTTPResponse:
        """One request, and once again when its connection breaks: the service may have closed it while it was idle.
        Whatever it is, it may be repeated. What is raised shows no address, as addresses are signed."""
        parts_of(key)
        url, pool = self._signed(method, key), self._open()[1]
        for last in (False, True):
            try:
                return pool.request(
                    method,
                    url,
                    body=body,
                    headers={"Accept-Encoding": "identity", **headers},
                    timeout=self._timeout,
                    retries=False,
                    redirect=False,
                    preload_content=False,
                    decode_content=False,
                )
            except (HTTPError, OSError) as error:
                cause = _cause(error)
                if last or cause != BROKEN:
                    raise self._error("reach", key, cause) from None
        raise AssertionError("the last try returns or raises")

    def _expect(self, answer: urllib3.BaseHTTPResponse, act: str, key: str, *statuses: int) -> int:
        """The status, when it is one of these. A 404 is one for the object only, never for the bucket."""
        if answer.status in statuses and answer.status != 404:
            return answer.status
        try:
            found = CODE.search(answer.read(MOST_OF_AN_ERROR))
        except HTTPError:
            found = None
        finally:
            answer.close()
        code = found[1].decode() if found else ""
        if answer.status == 404 in statuses and code == NOT_THERE:
            return 404
        raise self._error(act, key, _why(code, answer.status))

    def _error(self, act: str, key: str, why: str) -> StorageError:
        return StorageError(f"cannot {act} {key} in {self.describe()}: {why}")

    def _chunks(self, answer: urllib3.BaseHTTPResponse, key: str) -> Iterator[bytes]:
        try:
            while chunk := answer.read(CHUNK):
                yield chunk
        except (HTTPError, OSError) as error:
            raise self._error("read", key, _cause(error)) from None
        finally:
            answer.close()

    def _signed(self, method: Method, key: str) -> str:
        """An address that allows this method on this object for some minutes. Pure computation but for a role's
        credentials, which are asked for when the last ones expire."""
        import obstore
        from obstore.exceptions import BaseError

        try:
            store = self._open()[0]
            return blocking(lambda: obstore.sign(store, method, key, SIGNED_FOR))
        except (BaseError, OSError, ValueError):
            raise self._error("sign for", key, "no credentials were found (AWS_ACCESS_KEY_ID, or a role)") from None

    def _open(self) -> tuple["S3Store", urllib3.PoolManager]:
        opened = self._opened
        if opened is None or opened[0] != os.getpid():
            opened = self._opened = (
                os.getpid(),
                _store(self._bucket),
                urllib3.PoolManager(maxsize=32, ssl_context=_tls()),
            )
        return opened[1:]


class _NotImplemented(Exception):
    """The service does not know what was asked."""


def _store(bucket: Bucket) -> "S3Store":
    # Imported here: 16 MB that an archive in a directory has no use for.
    from obstore.store import S3Store

    config: S3Config = {}
    if bucket.region is not None:
        config["region"] = bucket.region
    if bucket.endpoint_url is not None:
        # Both, as a variable for the second would win over the first.
        config["endpoint"] = config["aws_endpoint_url_s3"] = bucket.endpoint_url
    return S3Store(
        bucket.name,
        prefix=bucket.prefix or None,
        config=config,
        client_options={"connect_timeout": "5s", "timeout": "15s", "allow_http": bucket.is_plain},
        retry_config={"max_retries": 1, "retry_timeout": timedelta(seconds=20)},
    )


def _tls() -> ssl.SSLContext:
    """The public authorities, and those of this machine: a bucket may be the company's own."""
    context = trusted_tls()
    context.load_default_certs()
    return context


class _Upload:
    """A file as a request's body, with an end to its time: a service that takes a byte a second does not hold us."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._ends = time.monotonic() + UPLOAD_S

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(0)
        while chunk := self._file.read(CHUNK):
            if time.monotonic() > self._ends:
                raise TimeoutError
            yield chunk


@contextlib.contextmanager
def _readable(source: Path) -> Iterator[BinaryIO]:
    try:
        file = source.open("rb")
    except OSError as error:
        raise StorageError(f"cannot read what is to be stored: {error.strerror}") from error
    with file:
        yield file


def _md5(file: BinaryIO) -> str:
    """As `Content-MD5` wants it (RFC 1864)."""
    file.seek(0)
    digest = hashlib.md5(usedforsecurity=False)
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return base64.b64encode(digest.digest()).decode()


def _why(code: str, status: int | None = None) -> str:
    """A refusal of the service in our words, with its own."""
    told = f"{status or ''} {code}".strip() or "an error"
    return f"{WHY[code]} ({told})" if code in WHY else f"the service answers {told}"


def _cause(error: Exception) -> str:
    """In our words: the library's show the address, which is signed."""
    match error:
        case ConnectTimeoutError() | NewConnectionError():
            return "the service cannot be reached"
        case ReadTimeoutError() | TimeoutError() | ProtocolError(args=(_, TimeoutError())):
            return "the service does not answer in time"
        case SSLError():
            return "its certificate is not trusted"
        case _:
            return BROKEN
