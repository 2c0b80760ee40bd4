"""A landscape for a prompt: real PNG bytes, equal for equal arguments, cheap enough to paint on every read."""

import colorsys
import hashlib
import io
import math
from functools import lru_cache
from itertools import pairwise
from random import Random

from PIL import Image, ImageDraw

from webhook_app.emulator.lettering import write_caption

Colour = tuple[int, int, int]
FINE = (
    2  # Masks are drawn at this scale and reduced: smooth edges at a fraction of the price of a full-size oversampling.
)


@lru_cache(maxsize=24)
def paint(prompt: str, seed: int, width: int, height: int, index: int, source: str = "") -> bytes:
    """The PNG of picture `index`. `source`: img2img's picture, if any. The composition is the same at every size."""
    name = "\0".join((prompt, str(seed), str(index), source))
    random = Random(hashlib.sha256(name.encode("utf-8", "replace")).digest())
    hue, night = random.random(), random.random() < 0.3
    image = _sky(random, width, height, hue, night)
    if night:
        _stars(random, image)
    _sun(random, image, night)
    _ridges(random, image, hue, night)
    write_caption(image, prompt, note=f"seed {seed} · {index + 1}")
    return _png(image)


def black(width: int, height: int) -> bytes:
    """What flux gives in the place of a picture that the safety checker holds back."""
    return _png(Image.new("RGB", (width, height)))


def _png(image: Image.Image) -> bytes:
    sink = io.BytesIO()
    image.save(sink, "PNG", compress_level=1)
    return sink.getvalue()


def _colour(hue: float, lightness: float, saturation: float) -> Colour:
    red, green, blue = colorsys.hls_to_rgb(hue % 1.0, lightness, saturation)
    return round(red * 255), round(green * 255), round(blue * 255)


def _sky(random: Random, width: int, height: int, hue: float, night: bool) -> Image.Image:
    """Three colours from top to horizon; a strip one pixel wide is stretched."""
    drift = random.uniform(0.06, 0.16) * random.choice((-1, 1))
    lights = (0.07, 0.16, 0.34) if night else (0.42, 0.66, 0.86)
    stops = [_colour(hue + drift * place, light, 0.5) for place, light in enumerate(lights)]
    strip = Image.new("RGB", (1, 3))
    strip.putdata(stops)
    return strip.resize((width, height), Image.Resampling.BICUBIC)


def _stars(random: Random, image: Image.Image) -> None:
    draw = ImageDraw.Draw(image)
    for _ in range(140):
        x, y = random.random() * image.width, random.random() ** 1.5 * image.height * 0.6
        size, light = random.choice((0, 0, 0, 1)), random.randint(120, 255)
        draw.rectangle((x, y, x + size, y + size), fill=(light, light, min(255, light + 20)))


def _sun(random: Random, image: Image.Image, night: bool) -> None:
    """A disc and the glow round it; the glow is Pillow's own radial gradient, stretched."""
    width, height = image.size
    radius = min(width, height) * random.uniform(0.05, 0.11)
    x, y = width * random.uniform(0.18, 0.82), height * random.uniform(0.14, 0.42)
    warm = random.uniform(0.07, 0.13)
    light = _colour(warm, 0.88, 0.3 if night else 0.95)
    reach = int(radius * 5)
    glow = Image.radial_gradient("L").resize((2 * reach, 2 * reach)).point(_GLOW)
    image.paste(light, (int(x) - reach, int(y) - reach), glow)
    disc = Image.new("L", (int(radius * 2 * FINE) + FINE,) * 2)
    ImageDraw.Draw(disc).ellipse((0, 0, radius * 2 * FINE, radius * 2 * FINE), fill=255)
    image.paste(_colour(warm, 0.95, 0.7), (int(x - radius), int(y - radius)), disc.reduce(FINE))


_GLOW = [int(190 * max(0.0, 1 - level / 180) ** 2) for level in range(256)]


def _ridges(random: Random, image: Image.Image, hue: float, night: bool) -> None:
    """Mountain lines from far and pale to near and dark."""
    width, height = image.size
    count = random.randint(4, 6)
    far, near = (0.3, 0.04) if night else (0.72, 0.13)
    tint = random.uniform(-0.12, 0.12)
    for place in range(count):
        depth = place / (count - 1)
        line = _ridge(random, base=0.5 + 0.4 * depth, swing=0.16 - 0.08 * depth, rough=0.5 + 0.08 * depth)
        top = max(0, int(min(line) * height))
        mask = _below(line, width, height, top)
        image.paste(_colour(hue + tint * depth, far + (near - far) * depth, 0.42), (0, top), mask)


def _ridge(random: Random, *, base: float, swing: float, rough: float) -> list[float]:
    """Midpoint displacement: 129 heights, as shares of the picture's height from its top."""
    line = [base + random.uniform(-swing, swing) / 2 for _ in range(3)]
    while len(line) < 129:
        swing *= rough
        middles = [(a + b) / 2 + random.uniform(-swing, swing) for a, b in pairwise(line)]
        line = [point for pair in zip(line, middles, strict=False) for point in pair] + line[-1:]
    return line


def _below(line: list[float], width: int, height: int, top: int) -> Image.Image:
    """A mask of everything under the line, for the part of the picture from row `top` down."""
    rows = height - top
    mask = Image.new("L", (width * FINE, rows * FINE))
    step = width * FINE / (len(line) - 1)
    points = [(place * step, (share * height - top) * FINE) for place, share in enumerate(line)]
    ImageDraw.Draw(mask).polygon([(0, rows * FINE), *points, (math.ceil(width * FINE), rows * FINE)], fill=255)
    return mask.reduce(FINE)
