"""The prompt's words on the picture: wrapped, sized to fit, on a dark band at the foot."""

import itertools
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont
from PIL.ImageFont import FreeTypeFont

BAND = 0.27  # The caption takes at most this share of the picture's height.
LONGEST = 900  # Characters; beyond that the words would be too small to read.
SMALLEST_POINT = 11


def write_caption(image: Image.Image, prompt: str, *, note: str) -> None:
    """Draw `prompt` and, smaller, `note` on the image itself."""
    margin = image.width // 18
    words = _drawable(prompt)
    font, lines = _fit(words, image.width - 2 * margin, int(image.height * BAND))
    pitch = _pitch(font)
    small = _font(max(SMALLEST_POINT, image.width // 44))
    band = pitch * len(lines) + _pitch(small) + margin
    top = image.height - band
    shade = Image.linear_gradient("L").resize((image.width, band)).point([min(190, level * 2) for level in range(256)])
    image.paste((8, 9, 14), (0, top), shade)
    draw = ImageDraw.Draw(image)
    for row, line in enumerate(lines):
        draw.text((margin, top + margin // 2 + row * pitch), line, font=font, fill=(248, 246, 240))
    draw.text((margin, top + margin // 2 + len(lines) * pitch), note, font=small, fill=(190, 188, 184))


@lru_cache(maxsize=64)
def _font(points: int) -> FreeTypeFont:
    font = ImageFont.load_default(points)
    if not isinstance(font, FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType")
    return font


def _pitch(font: FreeTypeFont) -> int:
    return int(font.size * 1.28)


def _drawable(prompt: str) -> list[str]:
    """Words without control characters and lone surrogates, which no font can draw."""
    text = "".join(sign if sign.isprintable() else " " for sign in prompt)
    return (text if len(text) <= LONGEST else text[: LONGEST - 1] + "…").split() or ["…"]


def _fit(words: list[str], width: int, height: int) -> tuple[FreeTypeFont, list[str]]:
    """The largest of a few sizes at which the words fit; at the smallest one the rest is cut off."""
    points = max(SMALLEST_POINT, width // 16)
    while True:
        font = _font(points)
        lines = _wrap(words, font, width)
        most = max(1, height // _pitch(font))
        if len(lines) <= most or points == SMALLEST_POINT:
            return font, lines[:most]
        points = max(SMALLEST_POINT, int(points * 0.82))


def _wrap(words: list[str], font: FreeTypeFont, width: int) -> list[str]:
    """Greedy lines; a word wider than a line is broken."""
    space = font.getlength(" ")
    lines, line, used = [], "", 0.0
    for word in itertools.chain.from_iterable(_pieces(word, font, width) for word in words):
        length = font.getlength(word)
        if line and used + space + length > width:
            lines.append(line)
            line, used = "", 0.0
        used += length + (space if line else 0)
        line = f"{line} {word}" if line else word
    return [*lines, line]


def _pieces(word: str, font: FreeTypeFont, width: int) -> list[str]:
    if font.getlength(word) <= width:
        return [word]
    size = max(1, int(len(word) * width / font.getlength(word)) - 1)
    return [word[start : start + size] for start in range(0, len(word), size)]
