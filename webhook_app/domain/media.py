"""The kinds of pictures that are kept, and how their files are named."""

# By content type. Nothing else is archived, and nothing else is served as a picture.
EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
THUMBNAIL_TYPE = "image/webp"
NO_PICTURE = "application/octet-stream"


def extension_of(content_type: str | None) -> str:
    """The ending of a file of this type, without a dot; `bin` where it is no picture of ours."""
    return EXTENSIONS.get(content_type or "", "bin")
