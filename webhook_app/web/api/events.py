"""`GET /v1/events` and its stream: the sealed log, from any place on, without gaps."""

import re
from contextlib import ExitStack
from typing import Annotated, Any

import orjson
from flask import Flask, Response, request
from flask.typing import ResponseReturnValue
from pydantic import Field

from webhook_app.domain.errors import CursorAhead, InvalidField
from webhook_app.domain.events import EventType
from webhook_app.domain.job import Scope
from webhook_app.store import reads
from webhook_app.web import reading
from webhook_app.web.answers import FeedAnswer
from webhook_app.web.auth import caller
from webhook_app.web.feed import Feed, Page, Wanted, feed_of
from webhook_app.web.paging import Limit, Query
from webhook_app.web.registry import Registry
from webhook_app.web.respond import json_response
from webhook_app.web.showing import own_job
from webhook_app.web.stream import MEDIA_TYPE, Outlet, stream
from webhook_app.web.waiting import Waiting, waiting_of
from webhook_app.wiring import Parts

NOW = "now"
LAST_EVENT_ID = "Last-Event-ID"
NUMBER = re.compile(r"[0-9]{1,18}")
After = Annotated[str, Field(pattern=r"^(now|[0-9]{1,18})$", description="A `seq`, or `now` for the end of the log.")]


class StreamQuery(Query):
    """What to follow, and from where on."""

    after: After | None = None
    type: list[EventType] = Field(default_factory=list, description="May be repeated.")
    track_id: Annotated[str, Field(max_length=100)] | None = None


class FeedQuery(StreamQuery):
    """Without `after`: from the beginning."""

    wait: Annotated[int, Field(ge=0, le=999_999_999, description="Seconds, cut to the installation's most.")] = 0
    limit: Limit = 50


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """Both."""
    feed, waiting = feed_of(app, parts), waiting_of(app, parts)
    _feed(app, parts, registry, feed, waiting)
    _stream(app, parts, registry, feed, waiting)


def _feed(app: Flask, parts: Parts, registry: Registry, feed: Feed, waiting: Waiting) -> None:
    @registry.route(
        app,
        "GET",
        "/v1/events",
        scope=Scope.READ,
        summary="The event feed",
        query=FeedQuery,
        answers={200: FeedAnswer, 404: None, 409: None, 410: None, 422: None, 429: None},
    )
    def get_feed() -> ResponseReturnValue:
        """Events in the order of the log, each exactly once: go on with `after` = `next_after`, which moves on over
        what was not asked for. With a wait it answers as soon as there is something. 409 when `after` lies beyond the
        end of the log: it is another one than `log_id` said before, or was restored from a backup."""
        asked = reading.query(FeedQuery)
        wanted, end = _asked(parts, asked)
        after = _place(asked.after or "0", end)
        page = feed.read(after, wanted, asked.limit, end.seq)
        wait_s = min(asked.wait, parts.settings.wait_max_s)
        if not page.entries and not page.has_more and wait_s and not waiting.draining:
            page = feed.wait(page.next_after, wanted, asked.limit, waiting.wait_until, wait_s)
        return _shown(page, end.log_id)


def _stream(app: Flask, parts: Parts, registry: Registry, feed: Feed, waiting: Waiting) -> None:
    @registry.route(
        app,
        "GET",
        "/v1/events/stream",
        scope=Scope.READ,
        summary="The event feed as a stream",
        query=StreamQuery,
        headers={LAST_EVENT_ID: "The `id` of the last event that was read: the stream goes on behind it."},
        answers={200: MEDIA_TYPE, 404: None, 409: None, 410: None, 422: None, 429: None},
    )
    def get_stream() -> ResponseReturnValue:
        """Server-sent events: `id` is the `seq`, `event` the type, `data` the event. From now on, unless
        `Last-Event-ID` or `after` says from where. It ends from time to time; whoever comes back with `Last-Event-ID`
        misses nothing."""
        wanted, end = _asked(parts, asked := reading.query(StreamQuery))
        after = _place(_last_event_id() or asked.after or NOW, end)
        with ExitStack() as place:
            place.enter_context(waiting.place())
            place.enter_context(feed.following())
            outlet = Outlet(request.environ)
            response = Response(stream(feed, waiting, outlet, wanted, after), mimetype=MEDIA_TYPE)
            response.call_on_close(place.pop_all().close)
        # Proxies must not gather what is to arrive at once.
        response.headers["X-Accel-Buffering"] = "no"
        response.headers["Cache-Control"] = "no-store"
        return response


def _asked(parts: Parts, asked: StreamQuery) -> tuple[Wanted, reads.LogEnd]:
    """What the caller may follow of that, and the log's end. Raises `NotFound` and `Erased` for a job."""
    sees = caller().sees
    with parts.store.looking() as connection:
        if asked.track_id is not None:
            own_job(connection, asked.track_id)
        end = reads.log_end(connection)
    return Wanted(sees, asked.track_id, frozenset(kind.value for kind in asked.type)), end


def _place(after: str, end: reads.LogEnd) -> int:
    place = end.seq if after == NOW else int(after)
    if place > end.seq:
        raise CursorAhead(f"The log {end.log_id} ends with {end.seq}.")
    return place


def _last_event_id() -> str | None:
    given = request.headers.get(LAST_EVENT_ID, "").strip()
    if given and not NUMBER.fullmatch(given):
        raise InvalidField("Last-Event-ID must be the id of an event of this stream.", pointer=f"/{LAST_EVENT_ID}")
    return given or None


def _shown(page: Page, log_id: str) -> Response:
    body: dict[str, Any] = {
        "data": [orjson.Fragment(entry.json) for entry in page.entries],
        "next_after": page.next_after,
        "has_more": page.has_more,
        "log_id": log_id,
    }
    return json_response(body)
