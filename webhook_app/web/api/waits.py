"""`POST /v1/jobs/wait`: one request that waits for any or for all of many jobs."""

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Annotated, Any

from flask import Flask
from flask.typing import ResponseReturnValue
from pydantic import ConfigDict, Field

from webhook_app.domain.ids import is_track_id
from webhook_app.domain.job import Scope
from webhook_app.store import reads
from webhook_app.web import reading
from webhook_app.web.answers import WaitAnswer
from webhook_app.web.auth import caller
from webhook_app.web.registry import Registry
from webhook_app.web.respond import json_response
from webhook_app.web.schemas import Strict, Whole
from webhook_app.web.showing import shown_jobs
from webhook_app.web.states import States, Until, is_over, states_of
from webhook_app.web.waiting import waiting_of
from webhook_app.wiring import Parts

MOST_JOBS = 1_000
EXAMPLE: dict[str, Any] = {"track_ids": ["0192f3c4-5d6e-7f80-9a1b-2c3d4e5f6071"], "mode": "any", "wait_s": 30}


class Mode(StrEnum):
    """Whether one that has ended is enough."""

    ANY = "any"
    ALL = "all"


class WaitRequest(Strict):
    """Which jobs, and what of them. `wait_s` not given is the installation's most."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    track_ids: Annotated[list[Annotated[str, Field(max_length=100)]], Field(min_length=1, max_length=MOST_JOBS)]
    mode: Annotated[Mode, Field(strict=False)] = Mode.ALL
    until: Annotated[Until, Field(strict=False)] = Until.TERMINAL
    wait_s: (
        Annotated[Whole, Field(ge=0, le=999_999_999, description="Seconds, cut to the installation's most.")] | None
    ) = None


class Watch:
    """What one request knows of its jobs: each is pending, done or unknown (there is no such job, it is another
    client's, or it is erased)."""

    def __init__(self, states: States, asked: WaitRequest, sees: str | None) -> None:
        self._states, self._asked, self._sees = states, asked, sees
        self._all = list(dict.fromkeys(asked.track_ids))
        self._pending = {track_id for track_id in self._all if is_track_id(track_id)}
        self._done: set[str] = set()

    @property
    def pending(self) -> list[str]:
        return [track_id for track_id in self._all if track_id in self._pending]

    @property
    def done(self) -> list[str]:
        return [track_id for track_id in self._all if track_id in self._done]

    def look(self, track_ids: Collection[str]) -> bool:
        """Read how these stand. True when there is nothing more to wait for; what was done once stays so."""
        wanted = self._pending.intersection(track_ids)
        found = self._states.of(wanted)
        for track_id in wanted:
            state = found.get(track_id)
            if state is None or state.erased or self._sees not in (None, state.client_id):
                self._pending.discard(track_id)
            elif is_over(state.status, state.archive_status, self._asked.until):
                self._pending.discard(track_id)
                self._done.add(track_id)
        return not self._pending or (self._asked.mode is Mode.ANY and bool(self._done))

    def answer(self, shown: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """With the done ones as they are shown: one that was erased in the last moment is not among them."""
        told = {job["track_id"] for job in shown} | self._pending
        unknown = [track_id for track_id in self._all if track_id not in told]
        return {"done": shown, "pending": self.pending, "unknown": unknown}


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """The route."""
    waiting, states = waiting_of(app, parts), states_of(app, parts)

    @registry.route(
        app,
        "POST",
        "/v1/jobs/wait",
        scope=Scope.READ,
        summary="Wait for any or all of many jobs",
        body=WaitRequest,
        answers={200: WaitAnswer, 400: None, 413: None, 415: None, 422: None, 429: None},
    )
    def post_wait() -> ResponseReturnValue:
        """Answers as soon as one (`any`) or each (`all`) of them has ended, and when the wait ends with whatever is
        true then. `unknown` are those that GET would answer 404 or 410; nobody waits for them."""
        asked = reading.validated(WaitRequest, reading.json_body())
        watch = Watch(states, asked, caller().sees)
        most_s = parts.settings.wait_max_s
        wait_s = most_s if asked.wait_s is None else min(asked.wait_s, most_s)
        if not watch.look(asked.track_ids) and wait_s > 0:
            waiting.wait_until(watch.look, watch.pending, wait_s)
        with waiting.turn():
            return json_response(watch.answer(_shown(parts, watch.done)))


def _shown(parts: Parts, track_ids: Sequence[str]) -> list[dict[str, Any]]:
    if not track_ids:
        return []
    with parts.store.looking() as connection:
        rows = {row["track_id"]: row for row in reads.jobs_of(connection, track_ids) if row["erased_at"] is None}
        return shown_jobs(parts, connection, [rows[track_id] for track_id in track_ids if track_id in rows])
