"""What happened to a job: its events, its attempts, and (for admins) what the provider sent about it."""

from flask import Flask
from flask.typing import ResponseReturnValue

from webhook_app.domain.job import Scope
from webhook_app.flows import show
from webhook_app.store import reads
from webhook_app.web import paging, representations
from webhook_app.web.answers import AttemptList, CallbackList, EventList
from webhook_app.web.registry import Registry
from webhook_app.web.showing import own_job
from webhook_app.wiring import Parts


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """Three lists, oldest first."""
    _events(app, parts, registry)
    _attempts(app, parts, registry)
    _callbacks(app, parts, registry)


def _events(app: Flask, parts: Parts, registry: Registry) -> None:
    @registry.route(
        app,
        "GET",
        "/v1/jobs/<track_id>/events",
        scope=Scope.READ,
        summary="A job's events",
        query=paging.Page,
        answers={200: EventList, 404: None, 410: None, 422: None},
    )
    def get_events(track_id: str) -> ResponseReturnValue:
        """Oldest first, just committed ones included: their `seq` is null until they are sealed."""
        listing = paging.Listing(parts, f"events {track_id}", ("position",))
        with parts.store.reading() as connection:
            own_job(connection, track_id)
            after = listing.after[0] if listing.after else 0
            rows = reads.events_of(connection, track_id, after=after, limit=listing.limit + 1)
        return listing.page(rows, show.event)


def _attempts(app: Flask, parts: Parts, registry: Registry) -> None:
    @registry.route(
        app,
        "GET",
        "/v1/jobs/<track_id>/attempts",
        scope=Scope.READ,
        summary="A job's attempts",
        query=paging.Page,
        answers={200: AttemptList, 404: None, 410: None, 422: None},
    )
    def get_attempts(track_id: str) -> ResponseReturnValue:
        """Every submit to the provider and what is known of it."""
        listing = paging.Listing(parts, f"attempts {track_id}", ("n",))
        with parts.store.reading() as connection:
            own_job(connection, track_id)
            after = listing.after[0] if listing.after else 0
            rows = reads.attempts_of(connection, track_id, after=after, limit=listing.limit + 1)
        return listing.page(rows, representations.attempt)


def _callbacks(app: Flask, parts: Parts, registry: Registry) -> None:
    @registry.route(
        app,
        "GET",
        "/v1/jobs/<track_id>/callbacks",
        scope=Scope.ADMIN,
        summary="What the provider sent about a job",
        query=paging.Page,
        answers={200: CallbackList, 404: None, 410: None, 422: None},
    )
    def get_callbacks(track_id: str) -> ResponseReturnValue:
        """Raw and judged."""
        listing = paging.Listing(parts, f"callbacks {track_id}", ("received_at", "callback_id"))
        with parts.store.reading() as connection:
            own_job(connection, track_id)
            after = paging.instant_and_id(listing.after)
            rows = reads.callbacks_of(connection, track_id, after=after, limit=listing.limit + 1)
        return listing.page(rows, representations.callback)
