"""`GET /v1/jobs`: the caller's jobs, filtered, by pages."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from flask import Flask, request
from flask.typing import ResponseReturnValue
from pydantic import BeforeValidator, Field

from webhook_app.domain.errors import InsufficientScope
from webhook_app.domain.job import Scope, Status
from webhook_app.store import reads
from webhook_app.web import paging, reading
from webhook_app.web.answers import JobList
from webhook_app.web.auth import caller
from webhook_app.web.registry import Registry
from webhook_app.web.showing import shown_jobs
from webhook_app.wiring import Parts

METADATA = "metadata."
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.IGNORECASE)
Text = Annotated[str, Field(min_length=1, max_length=200)]
Words = Annotated[list[Text], Field(max_length=20)]


def _instant(value: Any) -> datetime:
    # An unescaped "+01:00" arrives with a space.
    text = value.replace(" ", "+") if isinstance(value, str) else ""
    try:
        return datetime.fromisoformat(text.upper() if INSTANT.fullmatch(text) else "").astimezone(UTC)
    except (ValueError, OverflowError):  # The last evening of 9999 ends beyond it in UTC.
        raise ValueError("Must be an RFC 3339 instant such as 2026-11-01T12:00:00Z.") from None


Instant = Annotated[datetime, BeforeValidator(_instant)]


class JobFilters(paging.Query):
    """Repeated `status`, `tag` and `flag` mean any of them; different filters must all hold."""

    status: list[Status] = Field(default_factory=list)
    tag: Words = Field(default_factory=list)
    flag: Words = Field(default_factory=list)
    reference: Text | None = None
    batch_id: Text | None = None
    model: Text | None = None
    provider: Text | None = None
    client_id: Annotated[Text | None, Field(description="Scope admin only.")] = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    q: Annotated[Text | None, Field(description="Words that all occur in the prompt.")] = None
    unconfirmed: Literal["true", "false"] | None = None
    created_after: Annotated[Instant | None, Field(description="Inclusive.")] = None
    created_before: Annotated[Instant | None, Field(description="Exclusive.")] = None
    order: Literal["-created_at", "created_at"] = "-created_at"


class JobQuery(JobFilters, paging.Page):
    """The filters, and which page of what they leave."""


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """The list."""

    @registry.route(
        app,
        "GET",
        "/v1/jobs",
        scope=Scope.READ,
        summary="List jobs",
        query=JobQuery,
        answers={200: JobList, 403: None, 422: None},
    )
    def get_jobs() -> ResponseReturnValue:
        """Newest first unless asked otherwise; erased jobs are left out. `metadata.KEY=VALUE` filters by metadata."""
        metadata = metadata_asked()
        asked = reading.query(JobQuery, leaving=METADATA)
        listing = paging.Listing(parts, f"jobs {asked.order}", ("created_at", "number"), asked)
        wanted = job_filter(asked, metadata, paging.instant_and_id(listing.after))
        with parts.store.reading() as connection:
            rows = reads.jobs(connection, wanted, limit=listing.limit + 1)
            shown = shown_jobs(parts, connection, rows[: listing.limit])
        return listing.shown(shown, rows)


def metadata_asked() -> dict[str, str]:
    """The request's filters by metadata: member -> value."""
    given = request.args.items()
    found = {name.removeprefix(METADATA): value for name, value in given if name.startswith(METADATA)}
    faults = [
        {"pointer": reading.pointer((METADATA + key,)), "message": "Name a member of the metadata, without quotes."}
        for key, value in found.items()
        if not key or '"' in key or "\0" in key + value
    ]
    reading.refuse(faults)
    return found


def job_filter(asked: JobFilters, metadata: dict[str, str], after: reads.Position | None) -> reads.JobFilter:
    """The caller's jobs that these filters leave. Raises `InsufficientScope` for another client's."""
    who = caller()
    if asked.client_id is not None and not who.is_admin and asked.client_id != who.client_id:
        raise InsufficientScope("Only an admin key lists another client's jobs.")
    return reads.JobFilter(
        client_id=asked.client_id if who.is_admin else who.client_id,
        statuses=[status.value for status in asked.status],
        tags=asked.tag,
        flags=asked.flag,
        reference=asked.reference,
        batch_id=asked.batch_id,
        model=asked.model,
        provider=asked.provider,
        seed=asked.seed,
        words=(asked.q or "").split(),
        metadata=metadata,
        unconfirmed=None if asked.unconfirmed is None else asked.unconfirmed == "true",
        created_after=asked.created_after,
        created_before=asked.created_before,
        newest_first=asked.order == "-created_at",
        after=after,
    )
