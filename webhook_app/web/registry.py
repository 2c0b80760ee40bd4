"""One decorator for a route: its URL rule, its guard and its entry in `/openapi.json`, so that none can be forgotten.

@registry.route(app, "GET", "/v1/jobs/<track_id>", scope=Scope.READ, summary="…", answers={200: JobAnswer, 404: None})
def get_job(track_id: str) -> ResponseReturnValue: ...
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from flask import Flask
from flask.typing import ResponseReturnValue
from pydantic import BaseModel

from webhook_app.domain.job import Scope

View = Callable[..., ResponseReturnValue]
# A model is a JSON body, a text the media type of another body, None an answer without a body, or a problem
# (from 400 on).
Answer = type[BaseModel] | str | None
# A tuple: any of these.
Body = type[BaseModel] | tuple[type[BaseModel] | str, ...] | str


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known about one route. `path` is in Flask's notation; `scope` None means that everyone may call it."""

    method: str
    path: str
    endpoint: str
    scope: Scope | None
    summary: str
    query: type[BaseModel] | None
    body: Body | None
    headers: Mapping[str, str]
    answers: Mapping[int, Answer]
    description: str


@dataclass(slots=True)
class Registry:
    """All routes. `guard` is called with the scope before every view that is not public, and raises when the
    caller lacks it."""

    guard: Callable[[Scope], None]
    entries: list[Entry] = field(default_factory=list)

    def route(
        self,
        app: Flask,
        method: str,
        path: str,
        *,
        scope: Scope | None,
        summary: str,
        query: type[BaseModel] | None = None,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        answers: Mapping[int, Answer],
        guard: Callable[[Scope], None] | None = None,
    ) -> Callable[[View], View]:
        """Register a view. GET answers HEAD as well. `headers` are request headers that it honours: name -> meaning.
        `guard` replaces the usual one.
        The view's docstring is the description; `query` and `body` document what the view itself reads by
        these models."""

        def register(view: View) -> View:
            endpoint = f"{method} {path}".replace(".", " ")
            guarded = view if scope is None else _guarded(view, scope, guard or self.guard)
            app.add_url_rule(
                path, endpoint=endpoint, view_func=guarded, methods=[method], provide_automatic_options=False
            )
            description = " ".join((view.__doc__ or "").split())
            self.entries.append(
                Entry(method, path, endpoint, scope, summary, query, body, headers or {}, answers, description)
            )
            return view

        return register


def _guarded(view: View, scope: Scope, guard: Callable[[Scope], None]) -> View:
    @wraps(view)
    def guarded(**arguments: Any) -> ResponseReturnValue:
        guard(scope)
        return view(**arguments)

    return guarded
