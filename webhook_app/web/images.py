"""The pictures themselves, at addresses that last: our copy, and until there is one a redirect to the provider's."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, Field
from werkzeug.exceptions import RequestedRangeNotSatisfiable

from webhook_app.domain.errors import (
    ArchiveUnavailable,
    Erased,
    Gone,
    ImageNotReady,
    InvalidField,
    LinkNotValid,
    NotFound,
    StorageError,
)
from webhook_app.domain.estimates import begun_ready_at, look_again_after_s
from webhook_app.domain.job import TERMINAL, ImageStatus, Scope, Status
from webhook_app.domain.keys import blob_key, thumbnail_key
from webhook_app.domain.media import EXTENSIONS, NO_PICTURE, THUMBNAIL_TYPE, extension_of
from webhook_app.domain.outcome import Witness
from webhook_app.store import reads
from webhook_app.web import auth
from webhook_app.web.auth import Authenticator, Caller
from webhook_app.web.ranges import Unsatisfiable, window
from webhook_app.web.registry import Registry
from webhook_app.wiring import Parts, links, outlook

IMAGE_ID = re.compile(r"img_[a-z2-7]{26}")
SIZES = ("128", "256", "512")
RETRY_AFTER_S = 5
# What the provider told us over our own connection may be shown wherever it lies.
BELIEVED = frozenset({Witness.SUBMIT.value, Witness.POLL.value})
CONTROL = re.compile(r"[\x00-\x20\x7f]")
YEAR_S = 31_536_000
TURN_S = 0.001


class ImageQuery(BaseModel):
    size: int | None = Field(
        None, description="128, 256 or 512: a WebP thumbnail with so many pixels on its longer side."
    )
    expires: int | None = Field(None, description="With IMAGE_ACCESS=signed: when this address ends.")
    signature: str | None = Field(None, description="With IMAGE_ACCESS=signed. GET the job for a fresh address.")


@dataclass(frozen=True, slots=True)
class Copy:
    """An object of the archive as it is served."""

    key: str
    etag: str
    content_type: str
    filename: str
    size: int


@dataclass(frozen=True, slots=True)
class Admission:
    """Who asks, where only its client may see a picture, and how long the answer may be kept, and by whom."""

    caller: Caller | None
    cache_control: str


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """The route; who may call it is `IMAGE_ACCESS`'s affair, so that the route itself is public."""
    authenticator: Authenticator = app.extensions["authenticator"]

    @registry.route(
        app,
        "GET",
        "/images/<image_id>.<ext>",
        scope=None,
        summary="A picture",
        query=ImageQuery,
        headers={"If-None-Match": "The ETag at hand: 304 when it is still right.", "Range": "One range of bytes."},
        answers={200: "image/*", 206: "image/*", 302: None, 304: None}
        | dict.fromkeys((401, 403, 404, 410, 416, 422, 503)),
    )
    def get_image(image_id: str, ext: str) -> ResponseReturnValue:
        """Our copy once it is archived, before that a redirect to the provider's. The address never changes; its
        extension is decoration. A bucket with `serve=redirect` answers 302 to an address of its own, good for
        minutes."""
        size = _asked_size()
        admitted = _admit(parts, authenticator, image_id, datetime.now(UTC))
        image = _image(parts, image_id, admitted.caller)
        if image["status"] == ImageStatus.ARCHIVED:
            return _serve(parts, _copy(parts, image, size), admitted.cache_control)
        return _not_archived(parts, image)


def _asked_size() -> int | None:
    size = request.args.get("size")
    if size is not None and size not in SIZES:
        raise InvalidField(f"size must be one of {', '.join(SIZES)}.", pointer="/size")
    return None if size is None else int(size)


def _admit(parts: Parts, authenticator: Authenticator, image_id: str, now: datetime) -> Admission:
    """Raises what the caller lacks: a key, or a good signature. Who has the address of a public picture has both."""
    if parts.settings.image_access == "key":
        authenticator.guard(Scope.READ)
        return Admission(auth.caller(), f"private, max-age={YEAR_S}, immutable")
    signs = links(parts)
    if signs is None:
        return Admission(None, f"public, max-age={YEAR_S}, immutable")
    ends = signs.signed(image_id, request.args.get("expires", ""), request.args.get("signature", ""))
    if ends is None:
        raise LinkNotValid("This address has no valid signature; GET the job for one that has.")
    left_s = ends - int(now.timestamp())
    if left_s <= 0:
        raise LinkNotValid("This address has ended; GET the job for a fresh one.")
    return Admission(None, f"private, max-age={left_s}, immutable")


def _image(parts: Parts, image_id: str, caller: Caller | None) -> dict[str, Any]:
    """The picture's row, if there is something to show of it."""
    image = None
    if IMAGE_ID.fullmatch(image_id):
        with parts.store.reading() as connection:
            image = reads.image(connection, image_id)
    if image is None or (caller is not None and caller.sees not in (None, image["client_id"])):
        raise NotFound("There is no such picture.")
    if image["erased_at"] is not None or image["status"] == ImageStatus.ERASED:
        raise Erased("This picture was erased.")
    if image["status"] == ImageStatus.LOST or image["blob_state"] == "deleting":
        raise Gone("This picture could not be kept.")
    return image


def _ready_after_s(parts: Parts, image: dict[str, Any]) -> int:
    """When its job should be done, as far as its kind is known."""
    now = datetime.now(UTC)
    ready_at = begun_ready_at(image["submitted_at"], outlook(parts).of(image), now=now)
    return look_again_after_s(ready_at, now=now, otherwise=RETRY_AFTER_S)


def _not_archived(parts: Parts, image: dict[str, Any]) -> Response:
    status = Status(image["job_status"])
    if status is not Status.SUCCEEDED:
        # An ended job may still succeed by late evidence, but nobody should wait for it.
        wait_s = None if status in TERMINAL else _ready_after_s(parts, image)
        raise ImageNotReady(f"The job is {status.value}.", retry_after_s=wait_s)
    source = _showable_source(parts, image)
    if source is None:
        raise ArchiveUnavailable("The picture is not in the archive yet.", retry_after_s=RETRY_AFTER_S)
    return Response(status=302, headers={"Location": source, "Cache-Control": "no-store"})


def _showable_source(parts: Parts, image: dict[str, Any]) -> str | None:
    """The provider's address, where anyone may be sent there: public pictures only, and never to an unknown host that
    only a callback named."""
    if parts.settings.image_access != "public":
        return None
    for source in image["sources"]:
        if not source.startswith(("https://", "http://")) or CONTROL.search(source):
            continue
        if urlsplit(source).path.endswith(".base64"):
            continue
        if parts.fetcher.host_known(source) or image["source_witness"] in BELIEVED:
            return str(source)
    return None


def _copy(parts: Parts, image: dict[str, Any], size: int | None) -> Copy:
    sha256, content_type = image["sha256"], image["content_type"]
    name = f"{image['track_id']}-{image['index']}"
    if size is None:
        kind = content_type if content_type in EXTENSIONS else NO_PICTURE
        return Copy(blob_key(sha256), sha256, kind, f"{name}.{extension_of(content_type)}", image["bytes"])
    key = thumbnail_key(sha256, size)
    return Copy(key, f"{sha256}-{size}", THUMBNAIL_TYPE, f"{name}-{size}.webp", _length(parts, key))


def _length(parts: Parts, key: str) -> int:
    try:
        length = parts.storage.size(key)
    except StorageError as error:
        raise ArchiveUnavailable("The picture cannot be read now.", retry_after_s=RETRY_AFTER_S) from error
    if length is None:
        raise ArchiveUnavailable("There is no thumbnail of this size yet.", retry_after_s=RETRY_AFTER_S)
    return length


def _serve(parts: Parts, copy: Copy, cache_control: str) -> Response:
    """The copy, or the part of it that is asked for. A HEAD reads nothing, and knows no ranges."""
    response = Response(content_type=copy.content_type, direct_passthrough=True)
    response.set_etag(copy.etag)
    response.headers["Cache-Control"] = cache_control
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Content-Disposition"] = f'inline; filename="{copy.filename}"'
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    if request.if_none_match.contains_weak(copy.etag):
        response.status_code = 304
        return response
    address = _address(parts, copy)
    if address is not None:
        # A signed address ends after minutes, while the picture's own stays: nobody may keep this answer.
        return Response(status=302, headers={"Location": address, "Cache-Control": "no-store"})
    start, length = _part(copy, response)
    response.content_length = length
    if request.method != "HEAD":
        response.response = _bytes(parts, copy.key, start, length)
    return response


def _address(parts: Parts, copy: Copy) -> str | None:
    """Where else the bytes are to be got; None when they are to be had here, as what a HEAD wants always is."""
    if request.method == "HEAD" or copy.content_type not in EXTENSIONS:
        return None
    try:
        return parts.storage.temporary_url(copy.key, copy.content_type, copy.filename)
    except StorageError as error:
        raise ArchiveUnavailable("The picture cannot be read now.", retry_after_s=RETRY_AFTER_S) from error


def _part(copy: Copy, response: Response) -> tuple[int, int]:
    wanted = request.headers.get("If-Range")
    whole = request.method == "HEAD" or (wanted is not None and wanted.strip() != f'"{copy.etag}"')
    try:
        part = None if whole else window(request.headers.get("Range"), copy.size)
    except Unsatisfiable:
        raise RequestedRangeNotSatisfiable(copy.size) from None
    if part is None:
        return 0, copy.size
    response.status_code = 206
    response.headers["Content-Range"] = part.content_range
    return part.start, part.length


def _bytes(parts: Parts, key: str, start: int, length: int) -> Iterator[bytes]:
    """The chunks. The first is read here and now, so that a missing file is an answer and not a cut connection."""
    try:
        chunks = iter(parts.storage.read(key, start, length))
        first = next(chunks, b"")
    except StorageError as error:
        raise ArchiveUnavailable("The picture cannot be read now.", retry_after_s=RETRY_AFTER_S) from error
    return _fairly(chain((first,), chunks))


def _fairly(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """At most 64 MB a second for each client: else a few that take the bytes as fast as they come have the process for
    themselves, under gevent to the last turn."""
    for chunk in chunks:
        yield chunk
        time.sleep(TURN_S)
