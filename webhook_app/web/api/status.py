"""`GET /v1/jobs/{track_id}`: one job as it is, or as soon as it has ended."""

from flask import Flask, Response, request
from flask.typing import ResponseReturnValue

from webhook_app.domain.errors import TooManyWaiters
from webhook_app.domain.job import Scope
from webhook_app.web import reading
from webhook_app.web.answers import JobAnswer
from webhook_app.web.paging import Query, Wait
from webhook_app.web.registry import Registry
from webhook_app.web.showing import answers_of, own_state
from webhook_app.web.states import States, Until, is_over, states_of
from webhook_app.web.waiting import Waiting, waiting_of
from webhook_app.wiring import Parts

RETRY_AFTER_S = 5
HONOURED = {
    "Prefer": "`wait=N`, as the parameter `wait`.",
    "If-None-Match": "The ETag of the last answer: 304 when nothing has changed.",
}


class StatusQuery(Query):
    """How long to wait, and for what."""

    wait: Wait = None
    until: Until = Until.TERMINAL


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """The route that everyone asks most."""
    waiting, states, answers = waiting_of(app, parts), states_of(app, parts), answers_of(app, parts)

    @registry.route(
        app,
        "GET",
        "/v1/jobs/<track_id>",
        scope=Scope.READ,
        summary="One job",
        query=StatusQuery,
        headers=HONOURED,
        answers={200: JobAnswer, 304: None, 404: None, 410: None, 422: None},
    )
    def get_job(track_id: str) -> ResponseReturnValue:
        """With a wait it answers as soon as the job has ended, and when the wait ends with whatever is true then."""
        asked = reading.query(StatusQuery)
        wait_s = reading.preferred_wait_s() if asked.wait is None else asked.wait
        if wait_s is None:
            return _conditional(answers.response(track_id))
        headers = _wait(parts, track_id, waiting=waiting, states=states, wait_s=wait_s, until=asked.until)
        return _conditional(answers.response(track_id, 200, headers))


def _conditional(response: Response) -> Response:
    """Without an ETag in the request there is no condition to look at."""
    if "If-None-Match" in request.headers:
        response.make_conditional(request)
    return response


def _wait(
    parts: Parts, track_id: str, *, waiting: Waiting, states: States, wait_s: int, until: Until
) -> dict[str, str]:
    """What the answer's header says of the wait."""
    wait_s = min(wait_s, parts.settings.wait_max_s)
    state = own_state(states, track_id)  # Nobody waits for what is not theirs.
    applied = {"Preference-Applied": f"wait={wait_s}"}
    if is_over(state.status, state.archive_status, until):
        return applied
    try:
        waiting.wait_until(states.over(until), [track_id], wait_s)
    except TooManyWaiters as error:
        return {"Retry-After": str(error.retry_after_s or RETRY_AFTER_S)}
    return applied
