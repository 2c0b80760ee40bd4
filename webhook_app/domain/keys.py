"""Names of objects in the archive. Content-addressed: the same bytes have the same name whoever asked for them."""

import re

BLOBS, THUMBNAILS = "blobs", "thumbnails"
DIGITS = 64
NAME = re.compile(r"([0-9a-f]{64})(?:-\d+\.webp)?")


def blob_key(sha256: str) -> str:
    """Where the original bytes lie."""
    return f"{BLOBS}/{sha256[:2]}/{sha256[2:4]}/{sha256}"


def thumbnail_key(sha256: str, size: int) -> str:
    """Where the thumbnail whose longer side has `size` pixels lies."""
    return f"{THUMBNAILS}/{sha256[:2]}/{sha256[2:4]}/{sha256}-{size}.webp"


def digest_in(key: str) -> str | None:
    """Whose bytes, or whose thumbnail, lie at this key; None where we put nothing there."""
    name = NAME.fullmatch(key.rpartition("/")[2])
    if name is None:
        return None
    sha256 = name[1]
    folder = BLOBS if name[0] == sha256 else THUMBNAILS
    return sha256 if key == f"{folder}/{sha256[:2]}/{sha256[2:4]}/{name[0]}" else None


def listed_after(folder: str, cursor: str) -> str:
    """Where a listing begins that wants the digests behind this one: its last key, or the first of those that begin as
    the cursor does, where that is not a whole digest."""
    parts = [folder, cursor[:2], cursor[2:4], cursor if len(cursor) > 4 else ""]
    return "/".join(filter(None, parts)) + ("~" if len(cursor) == DIGITS else "")
