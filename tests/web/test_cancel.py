"""Canceling over HTTP."""

from tests.web.conftest import NOW, Api
from tests.web.test_problems import problem
from webhook_app.domain.ids import new_track_id
from webhook_app.web.answers import JobAnswer


def path(track_id: str) -> str:
    return f"/v1/jobs/{track_id}/cancel"


def test_a_job_is_canceled_and_again_the_answer_is_the_same(api: Api, admin: Api) -> None:
    track_id = api.submit()
    answer = api.post(path(track_id))
    assert answer.status_code == 200
    JobAnswer.model_validate(answer.json)
    assert (answer.json["status"], answer.json["error"]) == ("canceled", None)
    again = admin.post(path(track_id))
    assert (again.status_code, again.json, again.headers["ETag"]) == (200, answer.json, answer.headers["ETag"])


def test_what_ended_otherwise_or_is_not_there_cannot_be_canceled(api: Api, stranger: Api) -> None:
    track_id = api.submit()
    problem(stranger.post(path(track_id)), 404, "not_found")
    problem(api.post(path(new_track_id())), 404, "not_found")
    api.change_job(track_id, status="failed", completed_at=NOW)
    problem(api.post(path(track_id)), 409, "job_already_ended")
    api.change_job(track_id, erased_at=NOW)
    problem(api.post(path(track_id)), 410, "erased")
