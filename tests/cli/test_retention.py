"""`retention`: what would be erased by its age, and the order to do it, on a real database."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from tests.cli.conftest import Run, as_json
from tests.store.rows import make_job
from webhook_app.store.engine import Store
from webhook_app.store.tables import Erasure, Job

Verb = Run


@pytest.fixture
def verb(run: Run, database_url: str) -> Verb:
    return lambda *words, **more: run(*words, DATABASE_URL=database_url, SECRET_KEY="s" * 32, **more)


def test_a_plan_counts_and_applying_it_erases(verb: Verb, store: Store):
    now = datetime.now(UTC)
    ended = [now - timedelta(days=days) for days in (40, 31, 29)]
    jobs = [
        make_job(store, client=f"c{n}", status="failed", completed_at=at, due_at=None) for n, at in enumerate(ended)
    ]
    jobs.append(make_job(store, client="running"))
    told = as_json(verb("retention", "plan", "--output", "json", RETENTION_DAYS="30"))
    assert (told["jobs"], told["oldest"]) == (2, ended[0].isoformat().replace("+00:00", "Z"))
    assert verb("retention", "plan", "--days", "50").stdout.startswith("0 jobs ended before ")
    done = verb("retention", "apply", RETENTION_DAYS="30")
    assert (done.exit_code, done.stdout) == (0, "2 jobs are being erased\n")
    with store.reading() as connection:
        gone = connection.scalars(select(Job.track_id).where(Job.erased_at.is_not(None))).all()
        by = connection.scalars(select(Erasure.requested_by)).all()
    assert (sorted(gone), by) == (sorted(jobs[:2]), ["retention"] * 2)
    assert as_json(verb("retention", "apply", "--days", "30", "--output", "json"))["jobs"] == 0


def test_an_age_must_be_said(verb: Verb):
    for words in (("plan",), ("apply",), ("plan", "--days", "0")):
        assert verb("retention", *words).exit_code == 2
