"""`POST /v1/jobs`: take a job in, and wait for its end when asked to."""

from datetime import UTC, datetime

from flask import Flask, request
from flask.typing import ResponseReturnValue

from webhook_app.domain.errors import DatabaseUnavailable, TooManyWaiters
from webhook_app.domain.estimates import begun_ready_at, look_again_after_s
from webhook_app.domain.job import Scope
from webhook_app.flows.accept import Accepted, Idempotency, JobRequest, Submission, remember_status
from webhook_app.flows.show import job_url
from webhook_app.web import reading
from webhook_app.web.answers import JobAnswer
from webhook_app.web.asking import KEY_HONOURED, LOOK_AGAIN_AFTER_S, idempotency_of, job_request
from webhook_app.web.auth import caller
from webhook_app.web.paging import Query, Wait
from webhook_app.web.registry import Registry
from webhook_app.web.schemas import ImageToImageJob, TextToImageJob, job_of
from webhook_app.web.showing import answers_of, new_job_response
from webhook_app.web.states import Until, states_of
from webhook_app.web.submitting import submitter_of
from webhook_app.web.waiting import waiting_of
from webhook_app.wiring import Parts, outlook

HONOURED = KEY_HONOURED | {"Prefer": "`wait=N`: answer when the job has ended, after N seconds at most."}


class SubmitQuery(Query):
    """How long to wait for the job's end."""

    wait: Wait = None


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """The one route that costs money."""

    @registry.route(
        app,
        "POST",
        "/v1/jobs",
        scope=Scope.SUBMIT,
        summary="Submit a job",
        query=SubmitQuery,
        body=(TextToImageJob, ImageToImageJob),
        headers=HONOURED,
        answers={
            202: JobAnswer,
            201: JobAnswer,
            400: None,
            409: None,
            410: None,
            413: None,
            415: None,
            422: None,
            429: None,
        },
    )
    def post_job() -> ResponseReturnValue:
        """On record before the provider hears of it. 201 when the job ended within the wait asked for, else 202."""
        wait_s = reading.query(SubmitQuery).wait
        body = reading.json_body()
        asked = job_request(parts, job_of(body))
        return taken(app, parts, asked, idempotency_of(body), client_id=caller().client_id, wait_s=wait_s)


def taken(
    app: Flask,
    parts: Parts,
    asked: JobRequest,
    idempotency: Idempotency | None,
    *,
    client_id: str,
    wait_s: int | None = None,
) -> ResponseReturnValue:
    """Take a client's job in, and answer the request that asked for it. Without `wait_s` its `Prefer` counts."""
    if wait_s is None:
        wait_s = reading.preferred_wait_s()
    submission = Submission(
        asked,
        client_id=client_id,
        key_id=caller().key_id,
        idempotency_key=idempotency,
        location_for=lambda track_id: job_url(track_id, parts.settings.public_url),
        asked_at=datetime.now(UTC),
    )
    accepted = submitter_of(app, parts).accept(submission)
    try:
        return _answer(app, parts, accepted, client_id, wait_s)
    except DatabaseUnavailable:
        if accepted.job is None:
            raise
        # The job is committed: who hears of an error instead asks for it again, and pays twice.
        headers = {"Location": accepted.location, "Retry-After": str(LOOK_AGAIN_AFTER_S)}
        return new_job_response(parts, accepted.job, accepted.images, headers)


def _answer(app: Flask, parts: Parts, accepted: Accepted, client_id: str, wait_s: int | None) -> ResponseReturnValue:
    waiting, states = waiting_of(app, parts), states_of(app, parts)
    headers = {"Location": accepted.location}
    status = accepted.status_code
    if wait_s is not None:
        wait_s = min(wait_s, parts.settings.wait_max_s)
        try:
            ended = waiting.wait_until(states.over(Until.TERMINAL), [accepted.track_id], wait_s)
        except TooManyWaiters:
            ended = False
        else:
            headers["Preference-Applied"] = f"wait={wait_s}"
        if ended and not accepted.replayed:
            status = 201
            _remember(parts, client_id, status)
    if accepted.replayed:
        headers["Idempotent-Replayed"] = "true"
    if status == 202:
        headers["Retry-After"] = str(_look_again_after_s(parts, accepted))
    if accepted.job is not None and wait_s is None:
        return new_job_response(parts, accepted.job, accepted.images, headers)
    return answers_of(app, parts).response(accepted.track_id, status, headers)


def _look_again_after_s(parts: Parts, accepted: Accepted) -> int:
    """When half of its kind are done, from the submit on; how many stand before it is not read for this."""
    expected = None if accepted.job is None else outlook(parts).of(accepted.job)
    now = datetime.now(UTC)
    return look_again_after_s(begun_ready_at(now, expected, now=now), now=now, otherwise=LOOK_AGAIN_AFTER_S)


def _remember(parts: Parts, client_id: str, status: int) -> None:
    key = request.headers.get("Idempotency-Key")
    if key is not None:
        remember_status(parts.store, client_id=client_id, key=key, status_code=status)
