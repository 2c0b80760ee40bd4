"""Explaining over HTTP, from the rows of real flows."""

from datetime import timedelta

from tests.flows.world import World, success
from tests.web.conftest import Api
from tests.web.test_problems import problem
from webhook_app.domain.ids import new_track_id
from webhook_app.domain.job import OnUnconfirmed
from webhook_app.domain.outcome import Failed, Running, Unconfirmed
from webhook_app.flows import pausing
from webhook_app.flows.explain import Explained, explained
from webhook_app.store import reads
from webhook_app.web.answers import ExplanationAnswer


def look(world: World, track_id: str, *, names_reasons: bool = False) -> Explained:
    with world.store.reading() as connection:
        job = reads.job(connection, track_id, None)
        assert job is not None
        return explained(connection, job, world.policy, names_reasons=names_reasons, now=world.at)


def test_a_job_is_explained_to_its_client_alone(api: Api, stranger: Api) -> None:
    track_id = api.submit()
    answer = api.get(f"/v1/jobs/{track_id}/explain")
    assert answer.status_code == 200
    ExplanationAnswer.model_validate(answer.json)
    assert (answer.json["status"], answer.json["waiting_for"]) == ("queued", "provider_slot")
    assert "at place 1" in answer.json["verdict"]
    assert [step["type"] for step in answer.json["timeline"]] == ["job.queued"]
    problem(stranger.get(f"/v1/jobs/{track_id}/explain"), 404, "not_found")
    problem(api.get(f"/v1/jobs/{new_track_id()}/explain"), 404, "not_found")
    api.delete(f"/v1/jobs/{track_id}")
    problem(api.get(f"/v1/jobs/{track_id}/explain"), 410, "erased")


def test_a_pause_is_explained_and_its_words_are_for_admins(api: Api, admin: Api) -> None:
    track_id = api.submit()
    assert admin.post("/v1/providers/modelslab/pause", {"reason": "the bill is open"}).status_code == 200
    mine, theirs = (each.get(f"/v1/jobs/{track_id}/explain").json for each in (api, admin))
    assert mine["waiting_for"] == theirs["waiting_for"] == "provider_paused"
    assert ("the bill is open" in mine["verdict"], "the bill is open" in theirs["verdict"]) == (False, True)
    shown = api.get(f"/v1/jobs/{track_id}").json
    assert (shown["waiting_for"], shown["next_action_at"]) == ("provider_paused", None)
    assert (mine["next_at"], "somebody resumes" in mine["next_step"]) == (None, True)


def test_the_way_of_a_job_is_told(store) -> None:
    world = World(store)
    world.obey(attempts_allowed=2)
    track_id = world.submit()
    until = world.at + timedelta(minutes=2)
    pausing.pause(world.store, "modelslab", reason="queue_full", by="provider", until=until, now=world.at)
    assert look(world, track_id).explanation.next_at == until
    world.later(minutes=3)
    world.send(Failed("Failed, Try Again", retryable=True))
    again = look(world, track_id)
    assert "1 of 2 attempts" in again.explanation.verdict
    assert again.explanation.next_at == world.job(track_id).due_at
    world.later(minutes=1)
    world.send(Unconfirmed("connection reset"))
    decided = look(world, track_id).explanation
    assert ("connection reset" in decided.verdict, "given up" in decided.next_step) == (True, True)
    assert decided.next_at == world.at + world.policy.confirm_after
    world.obey(on_unconfirmed=OnUnconfirmed.HOLD)
    assert "on hold" in look(world, track_id).explanation.verdict
    world.hear(track_id, Running("7", 5.0), attempt=2)
    asked = look(world, track_id).explanation
    assert (asked.next_at, "it is asked" in asked.next_step) == (world.attempts(track_id)[1].poll_at, True)
    world.later(minutes=20)
    world.poll(Running("7", 5.0))
    world.expire()
    timed_out = look(world, track_id).explanation
    assert ("timed out" in timed_out.verdict, "asked once more" in timed_out.next_step) == (True, True)
    world.hear(track_id, success("https://elsewhere.example/0.png"), attempt=2)
    late = look(world, track_id)
    assert "had timed out, and succeeded late" in late.explanation.verdict
    assert "Nobody vouches for the host" in late.explanation.verdict
    told = [step.what for step in late.timeline]
    assert told[0].startswith("taken in as number")
    assert any("asked about attempt 2 once" in what for what in told)
    assert [step.at for step in late.timeline] == sorted(step.at for step in late.timeline)
