"""What a container says without decoding: the format, and where the picture ends. Decoders stop at the end of the
picture and say nothing about what follows."""

import re
import struct

from webhook_app.domain.errors import NotAPicture

PNG, JPEG, WEBP = "PNG", "JPEG", "WEBP"
CONTENT_TYPES = {PNG: "image/png", JPEG: "image/jpeg", WEBP: "image/webp"}
HEAD_BYTES = 512

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
# A marker is FF and a byte that is neither stuffing (00), nor a restart (D0-D7), nor fill (FF).
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_END_OF_IMAGE = 0xD9
# What is certainly something else: asking for it again gives the same. Anything unknown may be an error page.
_OTHER_FORMATS = (b"GIF8", b"%PDF", b"II*\0", b"MM\0*", b"BM", b"PK\x03\x04", b"\x1f\x8b", b"%!PS", b"\0\0\1\0")


def picture_format(head: bytes) -> str:
    """PNG, JPEG or WEBP by the first bytes. Raises `NotAPicture`, retryable for what may be an error page."""
    if head.startswith(PNG_MAGIC):
        return PNG
    if head.startswith(b"\xff\xd8\xff"):
        return JPEG
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    if not head.strip():
        raise NotAPicture("empty")
    if head.startswith(_OTHER_FORMATS) or head[4:8] == b"ftyp":
        raise NotAPicture("unsupported_format", retryable=False)
    raise NotAPicture("not_a_picture")


def webp_pixels(data: bytes) -> int:
    """How many pixels a WebP file announces, in each of the format's three kinds (RFC 9649). 0 when it does not say."""
    chunk = data[12:16]
    if chunk == b"VP8X" and len(data) >= 30:
        return (int.from_bytes(data[24:27], "little") + 1) * (int.from_bytes(data[27:30], "little") + 1)
    if chunk == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return ((bits & 0x3FFF) + 1) * ((bits >> 14 & 0x3FFF) + 1)
    if chunk == b"VP8 " and len(data) >= 30:
        sides: tuple[int, int] = struct.unpack_from("<HH", data, 26)
        return (sides[0] & 0x3FFF) * (sides[1] & 0x3FFF)
    return 0


def end_of_picture(data: bytes, kind: str) -> int:
    """The offset behind the picture's last byte. Raises `NotAPicture("truncated")` when the end is missing."""
    try:
        return _ENDS[kind](data)
    except (struct.error, IndexError) as error:
        raise NotAPicture("truncated") from error


def _end_of_png(data: bytes) -> int:
    at = len(PNG_MAGIC)
    while True:
        length, name = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        at += 12 + length
        if at > len(data):
            raise NotAPicture("truncated")
        if name == b"IEND":
            return at


def _end_of_jpeg(data: bytes) -> int:
    at = 2
    while True:
        found = _NEXT_MARKER.search(data, at)
        if found is None:
            raise NotAPicture("truncated")
        marker, at = data[found.end() - 1], found.end()
        if marker == _END_OF_IMAGE:
            return at
        # Every other segment has a length; what follows a scan's header is searched for the next marker.
        at += int(struct.unpack_from(">H", data, at)[0])


def _end_of_webp(data: bytes) -> int:
    end = 8 + int(struct.unpack_from("<I", data, 4)[0])
    if end > len(data):
        raise NotAPicture("truncated")
    return end


_ENDS = {PNG: _end_of_png, JPEG: _end_of_jpeg, WEBP: _end_of_webp}
