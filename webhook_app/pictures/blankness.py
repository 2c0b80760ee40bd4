"""Is there anything to see? A safety checker leaves an empty picture behind and still says success.

Judged by levels, 0 to 255, of every band of the whole decoded picture; the thresholds allow for the noise of JPEG and
WebP. A flag is a remark: nothing is refused for it."""

from PIL import Image, ImageStat

from webhook_app.domain.job import ImageFlag

# Blank: in each band, the darkest and the brightest level are no further apart than this.
FLAT = 4
# Near-blank: so little contrast in each band (a standard deviation) that nobody sees a picture in it, ...
FAINT = 4.0
# ... or so large a share of each band within `FLAT` of its most common level: a few words on an empty ground.
EMPTY_SHARE = 0.99


def blankness(picture: Image.Image) -> ImageFlag | None:
    """`blank`, `near_blank`, or None for a picture with something in it. `picture` is RGB or RGBA."""
    levels = ImageStat.Stat(picture)
    transparent = picture.mode == "RGBA" and levels.extrema[3][1] == 0
    if transparent or all(brightest - darkest <= FLAT for darkest, brightest in levels.extrema):
        return ImageFlag.BLANK
    if max(levels.stddev) < FAINT or all(_is_even(band.histogram()) for band in picture.split()):
        return ImageFlag.NEAR_BLANK
    return None


def _is_even(levels: list[int]) -> bool:
    """Whether nearly all pixels have about the same level. `levels` counts the pixels of each."""
    common = levels.index(max(levels))
    return sum(levels[max(0, common - FLAT) : common + FLAT + 1]) >= EMPTY_SHARE * sum(levels)
