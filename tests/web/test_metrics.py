"""`/metrics`: it parses, tells how things stand, and answers without the database too."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import TestResponse

from tests.web.conftest import BOOTSTRAP_KEY, Api
from tests.web.doors import Doors
from tests.web.test_problems import problem
from webhook_app.domain.events import Event, EventType
from webhook_app.domain.ids import new_track_id
from webhook_app.domain.tokens import Tokens
from webhook_app.flows import pausing
from webhook_app.flows.seal import seal
from webhook_app.store import events
from webhook_app.store.engine import Store
from webhook_app.store.tables import Attempt, Slot

PUBLIC = {"METRICS_PUBLIC": "1"}
Samples = dict[tuple[str, ...], float]


def samples(answer: TestResponse) -> Samples:
    """The values by name and labels. A family that comes twice fails."""
    assert answer.status_code == 200, answer.text
    assert answer.content_type.startswith("text/plain")
    families = list(text_string_to_metric_families(answer.text))
    assert len({family.name for family in families}) == len(families)
    assert all(family.documentation for family in families)
    found = [sample for family in families for sample in family.samples]
    return {(sample.name.removeprefix("webhook_app_"), *sample.labels.values()): sample.value for sample in found}


@pytest.fixture
def away(tmp_path: Path) -> Doors:
    """Doors whose database cannot be reached."""
    return Doors(Store(f"sqlite:///{tmp_path}/no-such-directory/nothing.db"), tmp_path, PUBLIC)


@pytest.fixture
def unreachable(tmp_path: Path, free_port: int) -> Iterator[Doors]:
    """Doors whose PostgreSQL does not listen."""
    store = Store(f"postgresql://nobody@127.0.0.1:{free_port}/nothing")
    yield Doors(store, tmp_path, {"BOOTSTRAP_API_KEY": BOOTSTRAP_KEY})
    store.dispose()


def test_an_idle_installation_has_nothing_to_tell(api: Api) -> None:
    found = samples(api.get("/metrics"))
    assert found["database_up",] == 1
    assert found["spool_writable",] == 1
    assert found["slots_max", "modelslab"] == 5
    assert ("pictures_slack_seconds",) not in found
    zero = {name for name, value in found.items() if value == 0}
    assert {("unfinished_jobs", "queued"), ("events_unsealed",), ("jobs_total", "failed"), ("submits_total",)} <= zero


def test_what_the_readme_names_is_there(api: Api) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    shown = {name for name, *_ in samples(api.get("/metrics"))} | {"pictures_slack_seconds"}
    assert set(re.findall(r"`webhook_app_(\w+)`", readme)) - shown == set()


def test_it_tells_how_things_stand(api: Api) -> None:
    now = datetime.now(UTC)
    waiting, sent, done = api.submit(), api.submit(), api.submit()
    api.change_job(waiting, created_at=now - timedelta(seconds=50))
    minute_ago = now - timedelta(seconds=60)
    api.change_job(sent, status="submitting", deadline_at=now, unconfirmed_since=minute_ago)
    api.change_job(done, status="succeeded", completed_at=now, due_at=None)
    api.change_images(done, fetch_at=now, source_expires_at=now + timedelta(seconds=1000))
    api.add(Slot, provider="modelslab", n=0, track_id=sent, free_at=now + timedelta(seconds=100))
    api.add(Attempt, track_id=sent, n=1, sent_at=now, evidence="none", repeats_unconfirmed=True)
    found = samples(api.get("/metrics"))
    whole = {name: found[name] for name in found if name[0] in {"unfinished_jobs", "slots_in_use"}}
    assert whole == {
        ("unfinished_jobs", "queued"): 1,
        ("unfinished_jobs", "submitting"): 1,
        ("unfinished_jobs", "processing"): 0,
        ("slots_in_use", "modelslab"): 1,
    }
    assert 50 <= found["queue_oldest_age_seconds",] < 110
    assert found["unconfirmed_jobs",] == 1
    assert 60 <= found["unconfirmed_oldest_age_seconds",] < 120
    assert found["pictures_pending",] == 1
    assert 940 < found["pictures_slack_seconds",] <= 1000
    assert found["events_unsealed",] == 3
    assert found["sealer_lag_seconds",] > 0
    assert (found["submit_repeats_total",], found["possible_double_charges",]) == (1, 1)


def test_its_counters_are_those_of_everyone_since_the_beginning(api: Api, stranger: Api) -> None:
    long_ago = datetime(2025, 1, 1, tzinfo=UTC)
    for client_id, kind in (
        ("cli_a", EventType.JOB_SUBMITTED),
        ("cli_b", EventType.JOB_SUBMITTED),
        ("cli_a", EventType.JOB_SUCCEEDED),
        (None, EventType.CALLBACK_ORPHANED),
    ):
        with api.parts.store.writing() as connection:
            events.append(connection, [Event(kind, "worker", long_ago, None, client_id)])
    stranger.submit()
    seal(api.parts.store)
    found = samples(api.get("/metrics"))
    assert found["submits_total",] == 2
    assert found["jobs_total", "succeeded"] == 1
    assert found["jobs_accepted_total",] == 1
    assert found["callbacks_total", "orphaned"] == 1
    assert found["events_unsealed",] == 0


@pytest.mark.parametrize(("reason", "shown"), [("queue_full", "queue_full"), ('x"} 1\nevil 1', "other")])
def test_a_pause_shows_its_reason_in_our_words_alone(api: Api, reason: str, shown: str) -> None:
    pausing.pause(api.parts.store, "modelslab", reason=reason, by="operator", until=None, now=datetime.now(UTC))
    found = samples(api.get("/metrics"))
    assert [name[2] for name, value in found.items() if name[0] == "provider_paused" and value] == [shown]
    assert ("evil",) not in found


def test_unconfirmed_jobs_are_on_hold_where_somebody_decides(store: Store, tmp_path: Path) -> None:
    rules = {"ON_UNCONFIRMED": "hold", "SUBMIT_CONFIRM_S": "30"}
    doors = Doors(store, tmp_path, PUBLIC | rules)
    for seconds in (20, 40):
        since = datetime.now(UTC) - timedelta(seconds=seconds)
        doors.set_job(doors.sent_job(), status="submitting", unconfirmed_since=since)
    found = samples(doors.http.get("/metrics"))
    assert (found["unconfirmed_jobs",], found["jobs_on_hold",]) == (2, 1)


def test_a_forged_callback_is_counted_and_adds_no_label(store: Store, tmp_path: Path) -> None:
    doors = Doors(store, tmp_path, PUBLIC)
    before = samples(doors.http.get("/metrics"))
    forged = Tokens(("another secret",)).callback("modelslab", new_track_id(), 1)
    for path in (f"modelslab/{new_track_id()}/{forged}", "evil%22/x/y", "modelslab/x/y"):
        assert doors.http.post(f"/callbacks/{path}", data=b"{}").status_code == 404
    doors.http.get("/nowhere/at/all")
    after = samples(doors.http.get("/metrics"))
    assert before.keys() == after.keys()
    assert [after[name] - before[name] for name in after if name[0] == "callbacks_refused_total"] == [3]


def test_without_a_key_it_is_closed_unless_it_is_public(api: Api, store: Store, tmp_path: Path) -> None:
    problem(api.http.get("/metrics"), 401, "unauthenticated")
    public = Doors(store, tmp_path, PUBLIC)
    assert samples(public.http.get("/metrics"))["database_up",] == 1
    document: Any = public.http.get("/openapi.json").json
    assert document["paths"]["/metrics"]["get"]["security"] == []


def test_without_its_database_it_tells_of_the_spool(away: Doors) -> None:
    away.parts.spool.append([b"one", b"two"])
    (away.parts.settings.spool_dir / "1-a.unreadable").write_bytes(b"torn\n")
    found = samples(away.http.get("/metrics"))
    assert found["database_up",] == 0
    assert (found["spool_entries",], found["spool_unreadable",], found["spool_writable",]) == (2, 1, 1)
    assert ("unfinished_jobs", "queued") not in found


def test_a_key_that_cannot_be_checked_opens_what_readyz_tells(unreachable: Doors) -> None:
    found = samples(unreachable.http.get("/metrics", headers={"X-Api-Key": BOOTSTRAP_KEY}))
    assert found["database_up",] == 0
    assert {name for (name, *_) in found} == {
        "database_up",
        "spool_writable",
        "spool_entries",
        "spool_unreadable",
        "callbacks_refused_total",
        "waiters",
        "notifications_lost",
    }
    assert unreachable.http.get("/metrics").status_code == 401


def test_a_database_behind_the_code_is_not_up(tmp_path: Path) -> None:
    behind = Doors(Store(f"sqlite:///{tmp_path}/empty.db"), tmp_path, PUBLIC)
    assert samples(behind.http.get("/metrics"))["database_up",] == 0
