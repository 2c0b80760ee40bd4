"""What is a picture, and what only says so."""

import base64
import hashlib
import io
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.pictures.conftest import MAX_BYTES
from tests.pictures.samples import FORMATS, chunk, drawing, encoded, png_claiming, png_with_text_bomb, webp_claiming
from webhook_app.domain.errors import NotAPicture
from webhook_app.pictures.inspect import PictureInspector

Write = Callable[[bytes], Path]


def refusal(inspector: PictureInspector, path: Path, base64_text: bool = False) -> tuple[str, bool]:
    with pytest.raises(NotAPicture) as caught:
        inspector.inspect(path, base64_text=base64_text)
    return caught.value.reason, caught.value.retryable


@pytest.mark.parametrize("kind", FORMATS)
def test_a_whole_picture_is_described_and_left_as_it_is(inspector: PictureInspector, write: Write, kind: str) -> None:
    content = encoded(drawing(700, 300), kind)
    path = write(content)
    seen = inspector.inspect(path, base64_text=False)
    assert (seen.path, seen.content_type, seen.size) == (path, FORMATS[kind], len(content))
    assert (seen.width, seen.height, seen.trailing_bytes) == (700, 300, 0)
    assert seen.sha256 == hashlib.sha256(content).hexdigest()
    assert path.read_bytes() == content


@pytest.mark.parametrize("kind", FORMATS)
def test_thumbnails_lie_beside_the_picture_and_keep_its_shape(
    inspector: PictureInspector, write: Write, kind: str
) -> None:
    seen = inspector.inspect(write(encoded(drawing(1024, 512), kind)), base64_text=False)
    sizes = {}
    for size, path in seen.thumbnails.items():
        assert path.parent == seen.path.parent
        with Image.open(path, formats=["WEBP"]) as thumbnail:
            sizes[size] = thumbnail.size
    assert sizes == {128: (128, 64), 256: (256, 128), 512: (512, 256)}


def test_a_thumbnail_is_never_larger_than_the_picture(inspector: PictureInspector, write: Write) -> None:
    seen = inspector.inspect(write(encoded(drawing(200, 100), "PNG")), base64_text=False)
    assert {size: Image.open(path).size for size, path in seen.thumbnails.items()} == {
        128: (128, 64),
        256: (200, 100),
        512: (200, 100),
    }


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_colour_has_thumbnails(inspector: PictureInspector, write: Write, mode: str) -> None:
    picture = Image.new("I;16", (300, 200), 40_000) if mode == "I;16" else drawing(300, 200, mode)
    seen = inspector.inspect(write(encoded(picture, "PNG")), base64_text=False)
    with Image.open(seen.thumbnails[128]) as thumbnail:
        assert thumbnail.size == (128, 85)
        assert mode != "I;16" or abs(thumbnail.convert("L").getpixel((60, 40)) - 156) < 4


def test_a_cmyk_jpeg_and_a_turned_one_have_thumbnails(inspector: PictureInspector, write: Write) -> None:
    assert inspector.inspect(write(encoded(drawing(300, 200, "CMYK"), "JPEG")), base64_text=False).width == 300
    exif = Image.Exif()
    exif[0x0112] = 6
    seen = inspector.inspect(write(encoded(drawing(300, 200), "JPEG", exif=exif)), base64_text=False)
    assert (seen.width, seen.height) == (300, 200)
    with Image.open(seen.thumbnails[128]) as thumbnail:
        assert thumbnail.size == (85, 128)


def test_a_progressive_jpeg_ends_at_its_last_scan(inspector: PictureInspector, write: Write) -> None:
    content = encoded(drawing(), "JPEG", progressive=True, restart_marker_rows=1)
    assert inspector.inspect(write(content + b"12345"), base64_text=False).trailing_bytes == 5


@pytest.mark.parametrize("kind", FORMATS)
def test_what_follows_a_picture_is_counted(inspector: PictureInspector, write: Write, kind: str) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("a.txt", "hello")
    for tail in (b"<html><script>alert(1)</script>", archive.getvalue()):
        seen = inspector.inspect(write(encoded(drawing(), kind) + tail), base64_text=False)
        assert seen.trailing_bytes == len(tail)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 1.0])
def test_a_picture_cut_anywhere_is_truncated(
    inspector: PictureInspector, write: Write, kind: str, share: float
) -> None:
    content = encoded(drawing(), kind)
    assert refusal(inspector, write(content[: int((len(content) - 1) * share)])) == ("truncated", True)


@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE html><html><body>Not found</body></html>",
        b"\n  <html>",
        b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script/></svg>',
        b'{"status": "processing"}',
        b"404 page not found",
        b"#!/bin/sh\nrm -rf /\n",
        b"\0" * 100,
    ],
)
def test_an_error_page_may_be_a_picture_later(inspector: PictureInspector, write: Write, content: bytes) -> None:
    assert refusal(inspector, write(content)) == ("not_a_picture", True)


@pytest.mark.parametrize("content", [b"", b"\n \r\n"])
def test_nothing_may_be_a_picture_later(inspector: PictureInspector, write: Write, content: bytes) -> None:
    assert refusal(inspector, write(content)) == ("empty", True)


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "BMP", "ICO", "PDF", "AVIF"])
def test_another_format_is_refused_for_good(inspector: PictureInspector, write: Write, kind: str) -> None:
    assert refusal(inspector, write(encoded(drawing(), kind))) == ("unsupported_format", False)


@pytest.mark.parametrize(
    "content",
    [
        png_claiming(50_000, 50_000),
        png_claiming(10_000, 10_000),
        png_claiming(4097, 4096),
        webp_claiming(16_383, 16_383),
        png_with_text_bomb(),
    ],
    ids=["50000", "10000", "just over", "webp canvas", "text"],
)
def test_a_bomb_is_refused_at_once(inspector: PictureInspector, write: Write, content: bytes) -> None:
    started = time.monotonic()
    assert refusal(inspector, write(content)) == ("bomb", False)
    assert time.monotonic() - started < 5


def test_the_largest_picture_allowed_passes(inspector: PictureInspector, write: Write) -> None:
    content = encoded(Image.new("RGB", (4096, 4096), (200, 10, 60)), "PNG", compress_level=1)
    assert inspector.inspect(write(content), base64_text=False).width == 4096


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_is_refused(inspector: PictureInspector, write: Write, kind: str) -> None:
    content = encoded(drawing(), kind, save_all=True, append_images=[drawing(mode="L").convert("RGB")])
    assert refusal(inspector, write(content)) == ("animated", False)


def test_a_wrong_checksum_is_seen(inspector: PictureInspector, write: Write) -> None:
    content = bytearray(encoded(drawing(), "PNG"))
    content[len(content) // 2] ^= 0xFF
    assert refusal(inspector, write(bytes(content)))[0] in {"broken", "truncated"}


def test_unreadable_exif_costs_no_picture(inspector: PictureInspector, write: Write) -> None:
    content = encoded(drawing(), "PNG")
    exif = chunk(b"eXIf", b"II*\0\x08\0\0\0\xff\xff" + os.urandom(200))
    seen = inspector.inspect(write(content[:33] + exif + content[33:]), base64_text=False)
    assert seen.width == 300


def test_a_file_over_the_cap_is_not_decoded(inspector: PictureInspector, write: Write) -> None:
    content = encoded(drawing(), "PNG")
    assert refusal(inspector, write(content + b"\0" * MAX_BYTES)) == ("too_large", False)


@pytest.mark.parametrize("prefix", [b"", b"data:image/png;base64,", b"\n DATA:image/png;base64,"])
@pytest.mark.parametrize("wrap", [False, True])
def test_base64_text_is_decoded_beside_it(inspector: PictureInspector, write: Write, prefix: bytes, wrap: bool) -> None:
    content = encoded(drawing(), "PNG")
    text = prefix + (base64.encodebytes(content) if wrap else base64.b64encode(content))
    path = write(text)
    seen = inspector.inspect(path, base64_text=True)
    assert seen.path != path
    assert seen.path.parent == path.parent
    assert seen.path.read_bytes() == content
    assert (seen.size, seen.sha256) == (len(content), hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "empty"),
        (b"<html>Not found</html>", "not_a_picture"),
        (b'{"status":"processing"}', "not_a_picture"),
        (b"iVBORw0KGgo", "bad_base64"),
        (b"iVBO Rw0K-_8=", "bad_base64"),
        (b"iVBO====", "bad_base64"),
        (b"Not found.", "bad_base64"),
        (base64.b64encode(b"<html></html>"), "not_a_picture"),
    ],
)
def test_text_that_is_no_picture_in_base64_may_be_one_later(
    inspector: PictureInspector, write: Write, text: bytes, reason: str
) -> None:
    assert refusal(inspector, write(text), base64_text=True) == (reason, True)


def test_padding_in_the_middle_is_not_base64(inspector: PictureInspector, write: Write) -> None:
    first = base64.b64encode(encoded(drawing(), "PNG")[:49_151])
    assert first.endswith(b"=")
    assert refusal(inspector, write(first + b"AAAA" * 1000), base64_text=True) == ("bad_base64", True)


def test_base64_that_would_grow_over_the_cap_is_refused(inspector: PictureInspector, write: Write) -> None:
    text = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * MAX_BYTES)
    assert refusal(inspector, write(text), base64_text=True) == ("too_large", False)


def test_a_picture_sent_in_place_of_its_base64_text_is_taken(inspector: PictureInspector, write: Write) -> None:
    path = write(encoded(drawing(), "JPEG"))
    assert inspector.inspect(path, base64_text=True).path == path
