"""Everything behind PgBouncer in transaction mode, LISTEN included (reliability.md, F25): no statement is prepared, the
settings of our sessions are not let through, and notifications do not arrive."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests import databases
from tests.e2e.installation import eventually, installation

PGBOUNCER = shutil.which("pgbouncer")
JOBS = 12
LOST = re.compile(r'^webhook_app_notifications_lost{pid="\d+"} 1.0$', re.MULTILINE)
pytestmark = [
    # No registry of Python packages has the program. What needs no pooler to be seen is in flows/test_listen.py.
    pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer is not installed"),
    pytest.mark.parametrize("database_url", ["postgresql"], indirect=True),
]


@pytest.fixture
def pooled_url(database_url: str) -> Iterator[str]:
    """The database through a PgBouncer of this test's."""
    there, port = make_url(database_url), databases.free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        target = f"host={there.host or '127.0.0.1'} port={there.port or 5432} user={there.username or 'postgres'}"
        lines = ["[databases]", f"* = {target}" + (f" password={there.password}" if there.password else "")]
        lines += ["[pgbouncer]", f"logfile = {folder / 'log'}", "listen_addr = 127.0.0.1", f"listen_port = {port}"]
        lines += ["unix_socket_dir =", "auth_type = any", "pool_mode = transaction", "default_pool_size = 4"]
        lines += ["ignore_startup_parameters = options, extra_float_digits"]
        settings = folder / "pgbouncer.ini"
        settings.write_text("\n".join(lines) + "\n")
        folder.chmod(0o777)
        settings.chmod(0o644)
        pooler = subprocess.Popen([*databases.unprivileged(), str(PGBOUNCER), "-q", str(settings)])
        try:
            plain = there.set(host="127.0.0.1", port=port)
            eventually(lambda: databases.answers(plain.render_as_string(hide_password=False)), "it answers", 20)
            pooled = plain.update_query_dict({"prepare_threshold": "none"})
            yield pooled.render_as_string(hide_password=False)
        finally:
            pooler.kill()
            pooler.wait()


def test_jobs_are_awaited_and_archived_behind_a_transaction_pooler(
    database_url: str, pooled_url: str, tmp_path: Path
) -> None:
    with installation(database_url, tmp_path, databases.free_port()) as app:
        app.env["DATABASE_URL"] = pooled_url
        app.start_web()
        app.start("worker")
        track_ids = [app.submit(f"pooled {n}").json()["track_id"] for n in range(JOBS)]
        with ThreadPoolExecutor(JOBS) as waiters:
            jobs = list(waiters.map(app.archived, track_ids))
        assert {(job["status"], job["archive_status"]) for job in jobs} == {("succeeded", "archived")}
        for _ in range(10):  # More often than a statement is run before the driver would prepare it.
            with ThreadPoolExecutor(4) as readers:
                answers = list(readers.map(lambda track_id: app.call("GET", f"/v1/jobs/{track_id}"), track_ids))
            assert {answer.status_code for answer in answers} == {200}
        eventually(lambda: LOST.search(app.call("GET", "/metrics").text), "that LISTEN does not get through is shown")
        assert app.run("doctor").returncode == 0
        assert "Traceback" not in app.output()
