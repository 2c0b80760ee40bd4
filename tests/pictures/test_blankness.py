"""What the safety checker leaves behind, and pictures that only look like it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from tests.pictures.samples import FORMATS, drawing, encoded
from webhook_app.domain.job import ImageFlag
from webhook_app.pictures.blankness import blankness
from webhook_app.pictures.inspect import PictureInspector

SIZE = (320, 240)


def words_on(colour: str) -> Image.Image:
    picture = Image.new("RGB", SIZE, colour)
    ImageDraw.Draw(picture).text((140, 115), "hidden", "grey")
    return picture


def noise(strength: float) -> Image.Image:
    return Image.effect_noise(SIZE, strength).convert("RGB")


def transparent() -> Image.Image:
    picture = drawing(*SIZE).convert("RGBA")
    picture.putalpha(0)
    return picture


def night_sky() -> Image.Image:
    """Dark, and nearly all of it nearly black, but a gradient and not an empty ground."""
    return Image.linear_gradient("L").resize(SIZE).point(lambda level: level // 8).convert("RGB")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("colour", ["black", "white", "#7f3311"])
def test_one_colour_is_blank_in_every_format(
    inspector: PictureInspector, write: Callable[[bytes], Path], kind: str, colour: str
) -> None:
    content = encoded(Image.new("RGB", SIZE, colour), kind)
    assert inspector.inspect(write(content), base64_text=False).blankness is ImageFlag.BLANK


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK"])
def test_one_colour_is_blank_in_every_mode(
    inspector: PictureInspector, write: Callable[[bytes], Path], mode: str
) -> None:
    content = encoded(Image.new("RGB", SIZE).convert(mode), "JPEG" if mode == "CMYK" else "PNG")
    assert inspector.inspect(write(content), base64_text=False).blankness is ImageFlag.BLANK


@pytest.mark.parametrize(
    ("picture", "flag"),
    [
        (transparent(), ImageFlag.BLANK),
        (words_on("black"), ImageFlag.NEAR_BLANK),
        (words_on("white"), ImageFlag.NEAR_BLANK),
        (noise(2), ImageFlag.NEAR_BLANK),
        (noise(12), None),
        (night_sky(), None),
        (drawing(*SIZE), None),
        (drawing(*SIZE).convert("RGBA"), None),
    ],
    ids=["transparent", "words on black", "words on white", "faint noise", "noise", "night", "drawing", "opaque"],
)
def test_emptiness_is_told_from_darkness(picture: Image.Image, flag: ImageFlag | None) -> None:
    assert blankness(picture) is flag
