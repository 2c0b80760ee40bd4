"""Taking archived pictures out of the archive, with a line of facts for each and their digests, as `sha256sum -c` reads
them. Every byte is hashed on its way: what is not as it should be is named, and not handed out."""

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import IO, Any

from webhook_app.domain.errors import NotAnObject, StorageError
from webhook_app.domain.job import ImageStatus
from webhook_app.domain.keys import blob_key
from webhook_app.domain.media import extension_of
from webhook_app.pictures.port import NO_DISK
from webhook_app.storage.port import Bundle, Storage
from webhook_app.store import reads
from webhook_app.store.engine import Store
from webhook_app.store.reads import JobFilter

MANIFEST, DIGESTS = "manifest.jsonl", "SHA256SUMS"
PAGE = 100
IN_MEMORY = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Exported:
    """One picture's turn; `problem` None: it is in the bundle, under this name."""

    name: str
    track_id: str
    image_id: str
    sha256: str
    bytes: int
    problem: str | None


def export(store: Store, storage: Storage, bundle: Bundle, wanted: JobFilter) -> Iterator[Exported]:
    """Put the archived pictures of these jobs into the bundle, the oldest job first, then the manifest and the digests.
    The same pictures give the same bundle, and memory does not grow with their number. Raises `StorageError` when the
    archive or the bundle fails as a whole."""
    last = datetime.fromtimestamp(0, UTC)
    with _room(), tempfile.TemporaryFile() as manifest, tempfile.TemporaryFile() as digests:
        for job, image in _archived(store, replace(wanted, newest_first=False)):
            done = _export_one(storage, bundle, job, image)
            if done.problem is None:
                manifest.write(_line(done.name, job, image))
                digests.write(_digest_line(done.sha256, done.name))
                last = max(last, image["archived_at"])
            yield done
        manifest.seek(0)
        digests.write(_digest_line(hashlib.file_digest(manifest, "sha256").hexdigest(), MANIFEST))
        bundle.add(MANIFEST, manifest, _size(manifest), last)
        bundle.add(DIGESTS, digests, _size(digests), last)


@contextlib.contextmanager
def _room() -> Iterator[None]:
    """The lists need room as well, and without them there is no export."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write the lists of the export: {error.strerror or error}") from error


def _archived(store: Store, wanted: JobFilter) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Jobs with their archived pictures. Each page is read by itself: no transaction is open while bytes move."""
    while True:
        with store.reading() as connection:
            jobs = reads.jobs(connection, wanted, limit=PAGE)
            images = reads.images_of(connection, [job["track_id"] for job in jobs])
        for job in jobs:
            for image in images[job["track_id"]]:
                if image["status"] == ImageStatus.ARCHIVED:
                    yield job, image
        if len(jobs) < PAGE:
            return
        wanted = replace(wanted, after=(jobs[-1]["created_at"], jobs[-1]["number"]))


def _export_one(storage: Storage, bundle: Bundle, job: dict[str, Any], image: dict[str, Any]) -> Exported:
    name = f"pictures/{job['track_id']}-{image['index']}.{extension_of(image['content_type'])}"
    try:
        problem = _add(storage, bundle, name, image)
    except OSError:
        problem = NO_DISK
    return Exported(name, job["track_id"], image["image_id"], image["sha256"], image["bytes"], problem)


def _add(storage: Storage, bundle: Bundle, name: str, image: dict[str, Any]) -> str | None:
    """Whole before it is handed out: from a tar nothing can be taken back."""
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as copy:
        problem = _copy(storage, image, copy)
        if problem is None:
            bundle.add(name, copy, image["bytes"], image["archived_at"])
    return problem


def _copy(storage: Storage, image: dict[str, Any], copy: IO[bytes]) -> str | None:
    """What is wrong with the object; None when the copy is what it should be."""
    digest, key = hashlib.sha256(), blob_key(image["sha256"])
    try:
        size = storage.size(key)
        if size is None:
            return "missing"
        if size != image["bytes"]:
            return "altered"
        for chunk in storage.read(key):
            digest.update(chunk)
            copy.write(chunk)
    except NotAnObject:
        return "altered"
    except StorageError:
        storage.check()
        return "unreadable"
    return None if digest.hexdigest() == image["sha256"] else "altered"


def _line(name: str, job: dict[str, Any], image: dict[str, Any]) -> bytes:
    facts = {
        "file": name,
        "track_id": job["track_id"],
        **{member: image[member] for member in ("index", "image_id", "sha256", "bytes", "content_type")},
        "width": image["width"],
        "height": image["height"],
        "reference": job["reference"],
        "created_at": _instant(job["created_at"]),
        "archived_at": _instant(image["archived_at"]),
        "seed": job["seed"],
        "prompt": job["input"].get("prompt"),
    }
    return json.dumps(facts, ensure_ascii=False).encode() + b"\n"


def _instant(value: datetime) -> str:
    return value.isoformat().replace("+00:00", "Z")


def _digest_line(sha256: str, name: str) -> bytes:
    return f"{sha256}  {name}\n".encode()


def _size(file: IO[bytes]) -> int:
    return file.seek(0, 2)
