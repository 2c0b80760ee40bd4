"""Providers over HTTP: how they stand, and the switches."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.web.conftest import Api
from tests.web.test_problems import problem
from webhook_app.flows import pausing
from webhook_app.store.tables import EventRow, Slot
from webhook_app.web.answers import ProviderAnswer, ProviderList

PAUSE, RESUME = "/v1/providers/modelslab/pause", "/v1/providers/modelslab/resume"


def listed(admin: Api) -> dict[str, Any]:
    answer = admin.get("/v1/providers").json
    ProviderList.model_validate(answer)
    (provider,) = answer["data"]
    return dict(provider)


def told(admin: Api) -> list[tuple[str, str]]:
    with admin.parts.store.reading() as connection:
        rows = connection.execute(EventRow.__table__.select().where(EventRow.type.like("provider.%")))
        return [(row.type, row.actor) for row in sorted(rows, key=lambda row: row.position)]


def test_a_provider_that_was_never_used_is_listed(admin: Api) -> None:
    assert listed(admin) == {
        "provider": "modelslab",
        "slots": {"max": 5, "in_use": 0},
        "paused": None,
        "refusals": 0,
        "queued": 0,
        "in_flight": 0,
    }


def test_slots_in_use_and_jobs_are_counted(api: Api, admin: Api) -> None:
    now = datetime.now(UTC)
    tracks = [api.submit() for _ in range(4)]
    for n, status in enumerate(("submitting", "processing", "succeeded")):
        ended = now if status == "succeeded" else None
        api.change_job(tracks[n], status=status, deadline_at=now, completed_at=ended)
        api.add(Slot, provider="modelslab", n=n, track_id=tracks[n], free_at=now + timedelta(minutes=n - 1, seconds=30))
    api.add(Slot, provider="modelslab", n=3, track_id=None, free_at=None)
    shown = listed(admin)
    assert (shown["slots"]["in_use"], shown["queued"], shown["in_flight"]) == (2, 1, 2)


def test_a_pause_lasts_until_somebody_resumes(admin: Api) -> None:
    paused = admin.post(PAUSE, {"reason": "maintenance"})
    assert paused.status_code == 200
    ProviderAnswer.model_validate(paused.json)
    assert paused.json == listed(admin)
    pause = paused.json["paused"]
    assert (pause["reason"], pause["paused_until"], pause["by"]) == ("maintenance", None, "key:key_bootstrap")
    assert admin.post(RESUME).json["paused"] is None
    assert admin.post(RESUME).status_code == 200
    assert told(admin) == [("provider.paused", "key:key_bootstrap"), ("provider.resumed", "key:key_bootstrap")]


def test_a_pause_needs_no_body_and_may_have_an_end(admin: Api) -> None:
    assert admin.call("POST", PAUSE).json["paused"]["reason"] == "by_hand"
    admin.post(RESUME)
    until = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    paused = admin.post(PAUSE, {"until": until.isoformat()}).json["paused"]
    assert datetime.fromisoformat(paused["paused_until"]) == until


def test_a_pause_of_the_provider_s_own_is_shown_with_its_reason(admin: Api) -> None:
    now = datetime.now(UTC)
    until = now + timedelta(minutes=1)
    pausing.pause(admin.parts.store, "modelslab", reason="queue_full", by="provider", until=until, now=now)
    assert (listed(admin)["paused"]["reason"], listed(admin)["paused"]["by"]) == ("queue_full", "provider")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"reason": ""}, "/reason"),
        ({"reason": " "}, "/reason"),
        ({"reason": "x" * 201}, "/reason"),
        ({"reason": 5}, "/reason"),
        ({"until": "2020-01-01T00:00:00Z"}, "/until"),
        ({"until": "9999-12-31T23:59:59-23:59"}, "/until"),
        ({"until": "tomorrow"}, "/until"),
        ({"until": 5}, "/until"),
        ([], ""),
    ],
)
def test_a_pause_that_cannot_be_read_is_refused(admin: Api, body: Any, pointer: str) -> None:
    assert problem(admin.post(PAUSE, body), 422, "invalid_field")["errors"][0]["pointer"] == pointer
    assert listed(admin)["paused"] is None


def test_an_unknown_provider_is_not_found(admin: Api) -> None:
    problem(admin.post("/v1/providers/other/pause"), 404, "not_found")
    problem(admin.post("/v1/providers/other/resume"), 404, "not_found")


def test_providers_are_for_admins(api: Api) -> None:
    for response in (api.get("/v1/providers"), api.post(PAUSE), api.post(RESUME)):
        problem(response, 403, "insufficient_scope")
