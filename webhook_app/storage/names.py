"""Which keys an archive takes: relative paths without a way out, whatever the store."""

from webhook_app.domain.errors import StorageError


def parts_of(key: str) -> list[str]:
    """The key's parts. No part starts with a dot, so that a temporary file cannot be mistaken for an object. Raises
    `StorageError`."""
    parts = key.split("/")
    if any(not part or part.startswith(".") or "\0" in part or "\\" in part or len(part) > 255 for part in parts):
        raise StorageError(f"not a storage key: {key!r}")
    return parts


def is_key(name: str) -> bool:
    """Whether what lies in the archive has a name that a key can have."""
    try:
        return bool(parts_of(name) and name.encode())
    except (StorageError, UnicodeError):
        return False
