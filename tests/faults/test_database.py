"""The way to PostgreSQL breaks at the worst moments (reliability.md, F6, F7): commits whose fate nobody learns, and
sessions that die under load. One installation, its web and its worker each behind a fault proxy."""

import contextlib
import hashlib
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests
from sqlalchemy import create_engine, make_url, text

from tests import databases
from tests.e2e.installation import SECRET, Installation, eventually, installation
from tests.faults.proxy import Proxy, proxy
from webhook_app.domain.tokens import Tokens
from webhook_app.store.engine import normalised

TOKENS = Tokens((SECRET,))
COMMITTED = b"COMMIT\x00"
TERMINATE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'webhook-app'
    ORDER BY random() LIMIT 1
"""
LISTENERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"


@dataclass
class Site:
    """The installation, the proxies before its database, and the database itself."""

    app: Installation
    web: Proxy
    worker: Proxy
    database_url: str

    def ask(self, statement: str) -> Any:
        """One value, past the proxies."""
        return databases.administer(self.database_url, statement)[0]

    def finished(self, track_id: str) -> dict[str, Any]:
        """The job once it has ended, asked until the database answers again."""

        def ended() -> dict[str, Any] | None:
            answer = self.app.call("GET", f"/v1/jobs/{track_id}?wait=2")
            assert answer.status_code in (200, 503), answer.text
            job: dict[str, Any] = answer.json()
            return job if job.get("completed_at") else None

        try:
            job: dict[str, Any] = eventually(ended, f"{track_id} has ended")
        except AssertionError as error:
            error.add_note(self.app.call("GET", f"/v1/jobs/{track_id}/explain").text)
            raise
        return job


@pytest.fixture(scope="module")
def site(postgresql_server: str, postgresql_template: str) -> Iterator[Site]:
    folder = Path(tempfile.mkdtemp(prefix="webhook-app-faults-"))
    with databases.postgresql_database(postgresql_server, postgresql_template) as url:
        # TCP and no TLS: the proxy has to see what goes by.
        there = make_url(url)
        target = (there.host or "127.0.0.1", there.port or 5432)
        with (
            proxy(target) as web,
            proxy(target) as worker,
            installation(url, folder, databases.free_port(), "--delay", "0.2") as app,
        ):
            through = [_through(url, made) for made in (web, worker)]
            app.start_web(DATABASE_URL=through[0])
            app.start("worker", DATABASE_URL=through[1], SUBMIT_CONFIRM_S="1")
            yield Site(app, web, worker, url)
    shutil.rmtree(folder)


def _through(url: str, made: Proxy) -> str:
    moved = make_url(url).set(host="127.0.0.1", port=made.port)
    moved = moved.update_query_dict({"sslmode": "disable", "gssencmode": "disable"})
    return moved.render_as_string(hide_password=False)


def test_a_submit_whose_commit_went_unheard_is_repeated_and_makes_one_job(site: Site) -> None:
    key = {"Idempotency-Key": "unheard-submit-1"}
    loss = site.web.lose(after=b"unheard-submit-1", answer=COMMITTED)
    refused = site.app.submit("unheard", headers=key, reference="unheard")
    loss.wait()
    assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    again = site.app.submit("unheard", headers=key, reference="unheard")
    assert (again.status_code, again.headers.get("Idempotent-Replayed")) == (202, "true")
    (listed,) = site.app.call("GET", "/v1/jobs?reference=unheard").json()["data"]
    assert listed["track_id"] == again.json()["track_id"]
    assert site.finished(listed["track_id"])["status"] == "succeeded"
    assert len(site.app.ledger("submit", listed["track_id"])) == 1


def test_a_callback_whose_commit_went_unheard_is_answered_and_counts_once(site: Site) -> None:
    site.app.provider(callback="never", delay_s=600.0)
    track_id = site.app.submit("unheard callback").json()["track_id"]
    eventually(
        lambda: site.app.call("GET", f"/v1/jobs/{track_id}").json()["status"] == "processing", "it is processing"
    )
    body = orjson.dumps(
        {"status": "success", "id": 7, "track_id": track_id, "output": ["https://cdn.modelslab.com/a.png"]}
    )
    loss = site.web.lose(after=hashlib.sha256(body).hexdigest().encode(), answer=COMMITTED)
    token = TOKENS.callback("modelslab", track_id, 1)
    answer = requests.post(f"{site.app.url}/callbacks/modelslab/{track_id}/{token}", data=body, timeout=10)
    loss.wait()
    assert answer.status_code == 200
    assert site.finished(track_id)["status"] == "succeeded"

    def counted() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = site.app.call("GET", f"/v1/jobs/{track_id}/callbacks").json()["data"]
        return [callback for callback in found if callback["times_seen"] == 2]

    # Once by the commit that nobody heard of, once out of the spool.
    (callback,) = eventually(counted, "the spool is drained")
    assert callback["verdict"] == "applied"
    events = site.app.call("GET", f"/v1/jobs/{track_id}/events").json()["data"]
    assert [event["type"] for event in events].count("job.succeeded") == 1
    site.app.provider(callback="once", delay_s=0.2)


def test_a_provider_s_answer_is_not_lost_with_the_commit_that_recorded_it(site: Site) -> None:
    loss = site.worker.lose(after=b"running", answer=COMMITTED)
    track_id = site.app.submit("unheard answer").json()["track_id"]
    loss.wait()
    job = site.finished(track_id)
    assert (job["status"], job["attempt"], job["unconfirmed_since"]) == ("succeeded", 1, None)
    assert len(site.app.ledger("submit", track_id)) == 1
    events = site.app.call("GET", f"/v1/jobs/{track_id}/events").json()["data"]
    assert "submit.unconfirmed" not in {event["type"] for event in events}


def test_a_job_whose_commit_before_the_socket_went_unheard_is_sent_once_and_soon(site: Site) -> None:
    loss = site.worker.lose(after=b"INSERT INTO attempts", answer=COMMITTED)
    track_id = site.app.submit("unheard beginning").json()["track_id"]
    loss.wait()
    job = site.finished(track_id)
    assert (job["status"], job["attempt"]) == ("succeeded", 1)
    assert len(site.app.ledger("submit", track_id)) == 1
    (attempt,) = site.app.call("GET", f"/v1/jobs/{track_id}/attempts").json()["data"]
    assert (attempt["sends"], attempt["unconfirmed_at"]) == (2, None)


def test_jobs_flow_while_random_sessions_are_terminated(site: Site) -> None:
    storm(site, seconds=3.0, jobs=20)


@pytest.mark.long
@pytest.mark.timeout(400)
def test_jobs_flow_while_random_sessions_are_terminated_for_a_minute(site: Site) -> None:
    storm(site, seconds=60.0, jobs=200)


def test_a_worker_outlives_a_session_that_dies_as_it_starts(site: Site) -> None:
    there = make_url(site.database_url)
    with proxy((there.host or "127.0.0.1", there.port or 5432)) as line:
        loss = line.lose(after=b"provider_state", answer=b"paused_reason")
        worker = site.app.start("worker", DATABASE_URL=_through(site.database_url, line))
        try:
            loss.wait()
            eventually(lambda: "worker.started" in worker.log.read_text(), "it works")
            assert "trying again" in worker.log.read_text()
        finally:
            assert worker.stop() == 0


def storm(site: Site, *, seconds: float, jobs: int) -> None:
    """Terminate a session every 100 ms while clients submit; then everything taken ends well, paid for once."""
    before = len(site.app.ledger("submit"))
    with terminating(site, seconds), ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(lambda n: persistent(site, f"storm {jobs} {n}", seconds / jobs), range(jobs)))
    assert len(set(taken)) == jobs
    ended = [site.finished(track_id) for track_id in taken]
    assert {job["status"] for job in ended} == {"succeeded"}
    submits = {track_id: len(site.app.ledger("submit", track_id)) for track_id in taken}
    paid = {job["track_id"]: job["attempt"] for job in ended}
    assert all(submits[track_id] <= paid[track_id] for track_id in taken), (submits, paid)
    assert before + sum(submits.values()) == len(site.app.ledger("submit"))
    assert {entry["http_status"] for entry in site.app.ledger("callback")} <= {200}
    # LISTEN is back in both processes, and a waiting client hears of the end.
    eventually(lambda: int(site.ask(LISTENERS)) >= 2, "both listen again")
    track_id = site.app.submit("after the storm").json()["track_id"]
    assert site.app.call("GET", f"/v1/jobs/{track_id}?wait=30").json()["status"] == "succeeded"
    held = "SELECT count(*) FROM jobs WHERE lease_owner IS NOT NULL AND completed_at IS NOT NULL"
    assert int(site.ask(held)) == 0


def persistent(site: Site, name: str, pause_s: float) -> str:
    """A client that repeats itself, with one Idempotency-Key, until the job is taken."""
    time.sleep(random.Random(name).random() * 8 * pause_s)

    def taken() -> str | None:
        answer = site.app.submit(name, headers={"Idempotency-Key": name})
        assert answer.status_code in (202, 409, 503), answer.text
        return str(answer.json()["track_id"]) if answer.status_code == 202 else None

    return str(eventually(taken, f"{name} is taken"))


@contextlib.contextmanager
def terminating(site: Site, seconds: float) -> Iterator[None]:
    """Sessions of ours die one by one while the block runs, and for as long as was asked."""
    thread = threading.Thread(target=_terminate, args=(site.database_url, time.monotonic() + seconds), daemon=True)
    thread.start()
    yield
    thread.join()


def _terminate(url: str, until: float) -> None:
    engine = create_engine(normalised(url), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        while time.monotonic() < until:
            connection.execute(text(TERMINATE))
            time.sleep(0.1)
    engine.dispose()
