"""Full decoding and thumbnails. Runs in a child process with limits: whatever a hostile file does to the decoder, it
does there."""

import struct
import warnings
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps

from webhook_app.domain.errors import NotAPicture
from webhook_app.domain.job import ImageFlag
from webhook_app.pictures.blankness import blankness
from webhook_app.pictures.port import THUMBNAIL_SIZES
from webhook_app.pictures.structure import (
    CONTENT_TYPES,
    HEAD_BYTES,
    JPEG,
    WEBP,
    end_of_picture,
    picture_format,
    webp_pixels,
)

MAX_PIXELS = 16_777_216
# Method 2 takes half the CPU of the default 4, and 5 % more bytes.
WEBP_QUALITY, WEBP_METHOD = 80, 2
# Pillow's own choice for thumbnails; LANCZOS takes half as much CPU again, which nobody sees at these sizes.
FILTER = Image.Resampling.BICUBIC


@dataclass(frozen=True, slots=True)
class Facts:
    """What decoding found, beside the files of `thumbnail_paths`."""

    content_type: str
    width: int
    height: int
    trailing_bytes: int
    blankness: ImageFlag | None


def thumbnail_paths(path: Path) -> dict[int, Path]:
    """Where `decode` writes: the longer side in pixels, and the file."""
    return {size: path.with_name(f"{path.name}-{size}.webp") for size in THUMBNAIL_SIZES}


def decode(path: Path, max_pixels: int = MAX_PIXELS) -> Facts:
    """Decode every pixel and write the thumbnails beside the file. Raises `NotAPicture`."""
    data = path.read_bytes()
    kind = picture_format(data[:HEAD_BYTES])
    with warnings.catch_warnings():
        # Remarks about odd EXIF would fill the log at a stranger's will.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        Image.MAX_IMAGE_PIXELS = max_pixels
        picture = _load(data, kind)
        trailing_bytes = len(data) - end_of_picture(data, kind)
        seen = _in_colour(picture)
        _write_thumbnails(seen, path)
    return Facts(CONTENT_TYPES[kind], *picture.size, trailing_bytes, blankness(seen))


def _load(data: bytes, kind: str) -> Image.Image:
    if kind == WEBP and webp_pixels(data) > (Image.MAX_IMAGE_PIXELS or MAX_PIXELS):
        # libwebp takes memory for the whole canvas before Pillow looks at the size.
        raise NotAPicture("bomb", retryable=False)
    try:
        picture = Image.open(BytesIO(data), formats=[kind])
        # A JPEG with a second picture inside (a phone's) is a whole JPEG; frames in PNG and WebP are animations.
        if kind != JPEG and getattr(picture, "n_frames", 1) > 1:
            raise NotAPicture("animated", retryable=False)
        picture.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise NotAPicture("bomb", retryable=False) from error
    except ValueError as error:
        # "Decompressed data too large": a few bytes of PNG text that unpack to megabytes.
        is_bomb = "too large" in str(error).lower()
        raise NotAPicture("bomb" if is_bomb else "broken", retryable=not is_bomb) from error
    except (OSError, SyntaxError, EOFError, LookupError, OverflowError, struct.error, zlib.error) as error:
        raise _broken(data, kind, error) from error
    return picture


def _broken(data: bytes, kind: str, error: Exception) -> NotAPicture:
    """Without its end, the picture was cut on the way; with it, broken otherwise. Either may come whole later."""
    try:
        end_of_picture(data, kind)
    except NotAPicture as truncated:
        return truncated
    return NotAPicture("truncated" if "truncated" in str(error) else "broken")


def _write_thumbnails(picture: Image.Image, path: Path) -> None:
    """Never larger than the picture; transparency is kept. The smaller ones are made from the largest."""
    paths = thumbnail_paths(path)
    largest = _upright(_fit(picture, max(paths)))
    for size, target in paths.items():
        _fit(largest, size).save(target, "WEBP", quality=WEBP_QUALITY, method=WEBP_METHOD, exif=b"", icc_profile=None)


def _upright(picture: Image.Image) -> Image.Image:
    """Turned as its EXIF says; a picture with unreadable EXIF stays as it is."""
    try:
        return ImageOps.exif_transpose(picture)
    except (OSError, SyntaxError, ValueError, TypeError, AttributeError, LookupError, struct.error):
        return picture


def _fit(picture: Image.Image, size: int) -> Image.Image:
    fitted = picture.copy()
    fitted.thumbnail((size, size), FILTER)
    return fitted


def _in_colour(picture: Image.Image) -> Image.Image:
    if picture.mode in ("RGB", "RGBA"):
        return picture
    if picture.mode.startswith("I"):
        # 16 bits of grey: WebP has 8.
        return picture.point(lambda value: value * (1 / 256)).convert("L").convert("RGB")
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")
