"""Deciding about unconfirmed submits over HTTP."""

from typing import Any

import pytest

from tests.web.conftest import NOW, Api
from tests.web.test_problems import problem
from webhook_app.domain.ids import new_track_id
from webhook_app.store.tables import Attempt
from webhook_app.web.answers import JobAnswer


def unconfirmed(api: Api) -> str:
    """A job whose submit was lost on its way."""
    track_id = api.submit()
    waiting = {"unconfirmed_since": NOW, "waiting_for": "confirmation", "due_at": None}
    api.change_job(track_id, status="submitting", attempt=1, spent=1, submitted_at=NOW, **waiting)
    api.add(Attempt, track_id=track_id, n=1, sends=1, sent_at=NOW, evidence="none", unconfirmed_at=NOW)
    return track_id


def path(track_id: str) -> str:
    return f"/v1/jobs/{track_id}/resolve"


def test_a_job_of_any_client_is_sent_again(api: Api, admin: Api) -> None:
    track_id = unconfirmed(api)
    answer = admin.post(path(track_id), {"decision": "repeat"})
    assert answer.status_code == 200
    JobAnswer.model_validate(answer.json)
    assert (answer.json["status"], answer.json["unconfirmed_since"]) == ("queued", None)
    told = api.get(f"/v1/jobs/{track_id}/events").json["data"][-1]
    assert (told["type"], told["actor"]) == ("submit.retried", "key:key_bootstrap")
    problem(admin.post(path(track_id), {"decision": "repeat"}), 409, "not_on_hold")


def test_a_job_is_given_up(api: Api, admin: Api) -> None:
    track_id = unconfirmed(api)
    job = admin.post(path(track_id), {"decision": "fail"}).json
    assert (job["status"], job["error"]["code"]) == ("failed", "submit_unconfirmed")
    for decision in ("fail", "repeat"):
        problem(admin.post(path(track_id), {"decision": decision}), 409, "job_already_ended")


def test_there_is_nothing_to_decide_for_other_jobs(api: Api, admin: Api) -> None:
    problem(admin.post(path(api.submit()), {"decision": "fail"}), 409, "not_on_hold")
    for track_id in (new_track_id(), "nothing"):
        problem(admin.post(path(track_id), {"decision": "fail"}), 404, "not_found")
    erased = unconfirmed(api)
    api.change_job(erased, erased_at=NOW)
    problem(admin.post(path(erased), {"decision": "fail"}), 410, "erased")


@pytest.mark.parametrize("body", [{}, {"decision": "wait"}, {"decision": None}, {"decision": 1}])
def test_a_decision_is_one_of_two(api: Api, admin: Api, body: Any) -> None:
    refused = problem(admin.post(path(unconfirmed(api)), body), 422, "invalid_field")
    assert refused["errors"][0]["pointer"] == "/decision"


def test_deciding_is_for_admins(api: Api) -> None:
    problem(api.post(path(unconfirmed(api)), {"decision": "fail"}), 403, "insufficient_scope")
