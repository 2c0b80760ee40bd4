"""`GET /v1/export`: all jobs that the list's filters leave, streamed as JSON Lines or CSV."""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal

from flask import Flask, Response
from flask.typing import ResponseReturnValue

from webhook_app.domain.job import Scope
from webhook_app.flows.show import dumps
from webhook_app.store import reads
from webhook_app.web import reading
from webhook_app.web.api.listing import METADATA, JobFilters, job_filter, metadata_asked
from webhook_app.web.registry import Registry
from webhook_app.web.showing import shown_jobs
from webhook_app.wiring import Parts

PAGE = 100
CONTENT_TYPES = {"jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}
PLAIN = (
    "track_id",
    "number",
    "status",
    "previous_status",
    "provider",
    "model",
    "client_id",
    "created_by",
    "seed",
    "attempt",
    "provider_job_id",
    "archive_status",
    "generation_time_s",
    "reference",
    "priority",
    "timeout_s",
    "batch_id",
    "parent_track_id",
    "created_at",
    "submitted_at",
    "completed_at",
    "archived_at",
)
OF_INPUT = ("prompt", "negative_prompt", "width", "height", "samples")
OTHERS = ("flags", "tags", "metadata", "error_code", "error_message", "image_urls", "image_sha256s")
# A spreadsheet takes a cell that begins so for a formula (CWE-1236).
FORMULA = ("=", "+", "-", "@", "\t", "\r")


class ExportQuery(JobFilters):
    """The list's filters, and the form."""

    format: Literal["jsonl", "csv"] = "jsonl"


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """The route."""

    @registry.route(
        app,
        "GET",
        "/v1/export",
        scope=Scope.READ,
        summary="Export jobs",
        query=ExportQuery,
        answers={200: "*/*", 403: None, 422: None},
    )
    def get_export() -> ResponseReturnValue:
        """However many they are, erased ones left out. `jsonl`: a job on each line, as the status shows it. `csv`: the
        columns named in the first line; text that a spreadsheet would take for a formula gets an apostrophe before it.
        An answer that is cut off in the middle is not whole: its last chunk is missing."""
        asked = reading.query(ExportQuery, leaving=METADATA)
        pages = _pages(parts, job_filter(asked, metadata_asked(), None))
        write = _as_csv() if asked.format == "csv" else _as_lines
        first = next(pages)  # Before the answer begins: its faults are problems still.
        headers = {"Content-Disposition": f'attachment; filename="jobs.{asked.format}"'}
        body = (write(page) for page in _and_then(first, pages))
        return Response(body, content_type=CONTENT_TYPES[asked.format], headers=headers)


def _pages(parts: Parts, wanted: reads.JobFilter) -> Iterator[list[dict[str, Any]]]:
    """The jobs as answers show them, at least one page. Each is read by itself: nobody's slow reading holds a
    transaction open."""
    while True:
        with parts.store.reading() as connection:
            rows = reads.jobs(connection, wanted, limit=PAGE)
            shown = shown_jobs(parts, connection, rows)
        yield shown
        if len(rows) < PAGE:
            return
        wanted = replace(wanted, after=(rows[-1]["created_at"], rows[-1]["number"]))


def _and_then(first: list[dict[str, Any]], rest: Iterator[list[dict[str, Any]]]) -> Iterator[list[dict[str, Any]]]:
    yield first
    yield from rest


def _as_lines(page: list[dict[str, Any]]) -> bytes:
    return b"".join(dumps(job) + b"\n" for job in page)


def _as_csv() -> Callable[[list[dict[str, Any]]], bytes]:
    """A writer of pages, which puts the names of the columns before the first."""
    head = [[*PLAIN, *OF_INPUT, *OTHERS]]

    def write(page: list[dict[str, Any]]) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text).writerows([*head, *(_row(job) for job in page)])
        head.clear()
        return text.getvalue().encode()

    return write


def _row(job: dict[str, Any]) -> list[Any]:
    error, images = job["error"] or {}, job["images"]
    others = [
        " ".join(job["flags"]),
        dumps(job["tags"]).decode(),
        dumps(job["metadata"]).decode(),
        error.get("code"),
        error.get("message"),
        " ".join(image["url"] for image in images),
        " ".join(image["sha256"] or "" for image in images),
    ]
    plain = [job[name] for name in PLAIN] + [job["input"].get(name) for name in OF_INPUT]
    return [_cell(value) for value in plain + others]


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) else value
    return value if value is None or isinstance(value, int | float) else dumps(value).decode().strip('"')
