"""Names of objects in the archive. Content-addressed: the same bytes have the same name whoever asked for them."""


def blob_key(sha256: str) -> str:
    """Where the original bytes lie."""
    return f"blobs/{sha256[:2]}/{sha256[2:4]}/{sha256}"


def thumbnail_key(sha256: str, size: int) -> str:
    """Where the thumbnail whose longer side has `size` pixels lies."""
    return f"thumbnails/{sha256[:2]}/{sha256[2:4]}/{sha256}-{size}.webp"
