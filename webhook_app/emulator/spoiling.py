"""What the bytes of a picture are when they are not what was asked: disguises, damage, bombs, empty pictures."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable

from PIL import Image, ImageDraw

from webhook_app.emulator.painting import black
from webhook_app.emulator.words import PictureKind

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
BOMB_SIDE = 50_000
SCRIPT = "<script>alert(1)</script>"
HTML = f"<!doctype html><html><body>{SCRIPT}</body></html>"
SVG = f'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="8" height="8">{SCRIPT}</svg>'

Paint = Callable[[int, int], bytes]


def as_kind(kind: PictureKind, paint: Paint, width: int, height: int) -> tuple[bytes, str]:
    """The bytes, and the Content-Type that goes with them. `paint(width, height)` gives the PNG that was asked for."""
    match kind:
        case PictureKind.JPEG:
            return _encoded(paint(width, height), "JPEG"), "image/jpeg"
        case PictureKind.WEBP:
            return _encoded(paint(width, height), "WEBP"), "image/webp"
        case PictureKind.GIF:
            return _encoded(paint(width, height), "GIF"), "image/gif"
        case PictureKind.WRONG_SIZE:
            return paint(width // 2, height // 2), "image/png"
        case PictureKind.SVG:
            return SVG.encode(), "image/png"
        case PictureKind.BOMB:
            return _bomb(), "image/png"
        case PictureKind.BLANK:
            return black(width, height), "image/png"
        case PictureKind.NEAR_BLANK:
            return _near_blank(width, height), "image/png"
        case _:
            return _damaged(kind, paint(width, height)), "image/png"


def _damaged(kind: PictureKind, png: bytes) -> bytes:
    match kind:
        case PictureKind.TRUNCATED:
            return png[: len(png) * 2 // 3]
        case PictureKind.CRC:
            middle = len(png) // 2
            return png[:middle] + bytes([png[middle] ^ 0xFF]) + png[middle + 1 :]
        case PictureKind.TRAILING_HTML:
            return png + HTML.encode()
        case PictureKind.TRAILING_ZIP:
            return png + _zip()
        case _:
            return png


def _encoded(png: bytes, kind: str) -> bytes:
    sink = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        picture.convert("RGB").save(sink, kind)
    return sink.getvalue()


def _bomb() -> bytes:
    header = struct.pack(">IIBBBBB", BOMB_SIDE, BOMB_SIDE, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b""))
    return PNG_MAGIC + b"".join(_chunk(name, content) for name, content in chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _zip() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        # A date of its own: equal asks have equal bytes.
        archive.writestr(zipfile.ZipInfo("index.html", (2026, 1, 1, 0, 0, 0)), HTML)
    return sink.getvalue()


def _near_blank(width: int, height: int) -> bytes:
    sink, image = io.BytesIO(), Image.new("RGB", (width, height))
    ImageDraw.Draw(image).text((width // 3, height // 2), "content hidden", "grey")
    image.save(sink, "PNG", compress_level=1)
    return sink.getvalue()
