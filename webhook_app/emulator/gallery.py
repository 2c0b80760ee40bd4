"""Finished pictures on their way out: their bytes, and how these come over the wire."""

import base64
import hashlib
import io
import time
from collections.abc import Iterator
from functools import partial

from flask import Response, request, send_file

from webhook_app.emulator import wire
from webhook_app.emulator.job import Job
from webhook_app.emulator.painting import black, paint
from webhook_app.emulator.spoiling import as_kind
from webhook_app.emulator.studio import Studio
from webhook_app.emulator.words import PictureTransfer

LENGTH_TOO_LONG = 1000
# Nobody gets these as they are, so the ledger names no digest.
NEVER_WHOLE = frozenset({PictureTransfer.CUT, PictureTransfer.WRONG_LENGTH, PictureTransfer.RESET})


def serve_picture(studio: Studio, job: Job, index: int) -> Response:
    """The bytes, as this job's transfer has them. The ledger's `sha256` is of the picture, decoded where it goes out as
    base64; None where it does not go out whole."""
    transfer = job.fate.picture_transfer
    hop = request.args.get("hop", 0, type=int)
    if transfer is PictureTransfer.REDIRECTS and hop < studio.options.redirects_length:
        studio.record("picture", job, path=request.path, http_status=302, fault=None, transfer=transfer)
        return Response(status=302, headers={"Location": f"{request.path}?hop={hop + 1}"})
    started_at = time.perf_counter()
    data, content_type = as_kind(job.fate.picture_kind, partial(_pixels, job, index), *_size(job))
    digest = hashlib.sha256(data).hexdigest()
    studio.record(
        "picture",
        job,
        path=request.path,
        http_status=200,
        fault=None,
        transfer=transfer,
        bytes=len(data),
        sha256=None if transfer in NEVER_WHOLE else digest,
        took_s=round(time.perf_counter() - started_at, 4),
    )
    if job.submission.base64:
        data, content_type = base64.b64encode(data), "text/plain"
    elif transfer in (PictureTransfer.WHOLE, PictureTransfer.REDIRECTS):
        return send_file(io.BytesIO(data), mimetype=content_type, etag=digest[:32], conditional=True)
    return _over_the_wire(studio, transfer, data, content_type)


def _size(job: Job) -> tuple[int, int]:
    return job.submission.width, job.submission.height


def _pixels(job: Job, index: int, width: int, height: int) -> bytes:
    asked = job.submission
    if asked.flagged:
        return black(width, height)
    source = "" if asked.init_image is None else f"{asked.init_image} {asked.strength}"
    return paint(asked.prompt, job.seed, width, height, index, source)


def _over_the_wire(studio: Studio, transfer: PictureTransfer, data: bytes, content_type: str) -> Response:
    told = {"Content-Length": str(len(data))}
    match transfer:
        case PictureTransfer.DRIP:
            return Response(_drip(studio, data), headers=told, mimetype=content_type)
        case PictureTransfer.CUT:
            return Response(_broken(data[: len(data) // 2], wire.HangUp), headers=told, mimetype=content_type)
        case PictureTransfer.RESET:
            return Response(_broken(data[: len(data) // 2], wire.Reset), headers=told, mimetype=content_type)
        case PictureTransfer.WRONG_LENGTH:
            told["Content-Length"] = str(len(data) + LENGTH_TOO_LONG)
            return Response(_broken(data, wire.HangUp), headers=told, mimetype=content_type)
        case _:
            return Response(data, mimetype=content_type)


def _broken(part: bytes, end: type[wire.HangUp]) -> Iterator[bytes]:
    yield part
    raise end


def _drip(studio: Studio, data: bytes) -> Iterator[bytes]:
    step = studio.options.drip_bytes_s
    for start in range(0, len(data), step):
        yield data[start : start + step]
        if studio.pause(1.0):
            raise wire.HangUp
