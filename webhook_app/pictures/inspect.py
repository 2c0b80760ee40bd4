"""Believing bytes, not headers: is this file a whole picture, which one, and what follows it."""

import binascii
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from webhook_app.domain.errors import NotAPicture
from webhook_app.pictures.children import DecoderPool
from webhook_app.pictures.decode import MAX_PIXELS, thumbnail_paths
from webhook_app.pictures.port import Inspected
from webhook_app.pictures.structure import HEAD_BYTES, picture_format

CHUNK = 64 * 1024
_BASE64 = re.compile(rb"[A-Za-z0-9+/]*={0,2}")
_WHITESPACE = b" \t\r\n"
_DATA_PREFIX = re.compile(rb"data:[a-z0-9.+/-]{0,100};base64,", re.IGNORECASE)


class PictureInspector:
    """The `Inspector` of production. `max_bytes` counts the picture, not its base64 text. A given `pool` has
    its own `max_pixels` and stays the caller's to close; otherwise `close` ends the children."""

    def __init__(self, max_bytes: int, max_pixels: int = MAX_PIXELS, *, pool: DecoderPool | None = None) -> None:
        self._max_bytes = max_bytes
        self._owns_pool = pool is None
        self._pool = pool or DecoderPool(max_pixels=max_pixels)

    def inspect(self, path: Path, *, base64_text: bool) -> Inspected:
        if base64_text and not _is_picture(_head(path)):
            path = self._decode_base64(path)
        size = path.stat().st_size
        if size > self._max_bytes:
            raise NotAPicture("too_large", retryable=False)
        # Looked at here first: an error page is no reason to wake a child.
        picture_format(_head(path))
        facts = self._pool.decode(path)
        thumbnails = thumbnail_paths(path)
        return Inspected(
            path=path,
            content_type=facts.content_type,
            size=size,
            sha256=_sha256(path),
            width=facts.width,
            height=facts.height,
            trailing_bytes=facts.trailing_bytes,
            blankness=facts.blankness,
            thumbnails=thumbnails,
            thumbnail_sha256={str(size): _sha256(thumbnail) for size, thumbnail in thumbnails.items()},
        )

    def close(self) -> None:
        if self._owns_pool:
            self._pool.close()

    def _decode_base64(self, path: Path) -> Path:
        """The bytes that the text stands for, in a file beside it."""
        decoded = path.with_name(f"{path.name}.decoded")
        written = 0
        with decoded.open("wb") as sink:
            for part in _base64_parts(path):
                written += len(part)
                if written > self._max_bytes:
                    raise NotAPicture("too_large", retryable=False)
                sink.write(part)
        return decoded


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def _is_picture(head: bytes) -> bool:
    """A server may well send the picture itself under a name that ends in `.base64`."""
    try:
        return bool(picture_format(head))
    except NotAPicture:
        return False


def _base64_parts(path: Path) -> Iterator[bytes]:
    """Decoded parts. Strict: RFC 4648's alphabet, whitespace between, padding at the end only and complete."""
    rest, ended = b"", False
    for text in _base64_text(path):
        rest += text
        whole = len(rest) - len(rest) % 4
        ready, rest = rest[:whole], rest[whole:]
        if not ready:
            continue
        if ended:
            raise NotAPicture("bad_base64")
        ended = ready.endswith(b"=")
        yield _strict(ready)
    if rest:
        raise NotAPicture("bad_base64")


def _strict(text: bytes) -> bytes:
    if not _BASE64.fullmatch(text):
        raise NotAPicture("bad_base64")
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error as error:
        raise NotAPicture("bad_base64") from error


def _base64_text(path: Path) -> Iterator[bytes]:
    """The text without whitespace and prefix. What begins like a page or JSON is an error page, not bad base64."""
    with path.open("rb") as file:
        head = file.read(CHUNK).lstrip(_WHITESPACE)
        if not head:
            raise NotAPicture("empty")
        if head[:1] in (b"<", b"{", b"["):
            raise NotAPicture("not_a_picture")
        prefix = _DATA_PREFIX.match(head)
        yield head[prefix.end() if prefix else 0 :].translate(None, _WHITESPACE)
        while chunk := file.read(CHUNK):
            yield chunk.translate(None, _WHITESPACE)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
