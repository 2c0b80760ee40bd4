"""What the archive asks about bytes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from webhook_app.domain.job import ImageFlag

THUMBNAIL_SIZES = (128, 256, 512)
# The reason of a `NotAPicture` that is not the picture's fault: what was to be written beside it could not be.
NO_DISK = "disk_unavailable"
# Those of one whose decoder came to no end. There was none: nor is that the picture's fault. Or it died, or took too
# long: by the picture, or by a machine without memory, which nobody can tell apart at the first try.
NO_DECODER, DECODER_DIED = "decoder_unavailable", "decoder_died"


@dataclass(frozen=True, slots=True)
class Inspected:
    """A whole, decodable picture. `path` holds the original bytes (decoded where they came as base64), `sha256` is
    theirs in hex. `thumbnails` maps the longer side in pixels to a WebP file beside it, `thumbnail_sha256` to that
    file's digest (the side as a text, as JSON wants it); `trailing_bytes` counts what follows the picture; `blankness`
    is `blank`, `near_blank` or None."""

    path: Path
    content_type: str
    size: int
    sha256: str
    width: int
    height: int
    trailing_bytes: int
    blankness: ImageFlag | None
    thumbnails: dict[int, Path]
    thumbnail_sha256: dict[str, str]


class Inspector(Protocol):
    def inspect(self, path: Path, *, base64_text: bool) -> Inspected:
        """Decode the file fully and make its thumbnails in the same folder. `base64_text` says that the file holds
        base64 text (a `data:image/...;base64,` prefix is allowed); it is decoded first. Raises
        `domain.errors.NotAPicture`, and OSError where base64 text cannot be decoded for want of room."""
        ...
