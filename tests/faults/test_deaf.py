"""LISTEN has gone deaf and nobody was told (reliability.md, F25): the connection is dead without a FIN, or a pooler in
between passes no notifications. Whoever waits reads again all the same."""

import queue
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from sqlalchemy import make_url

from tests import databases
from tests.e2e.installation import eventually, installation
from tests.faults.proxy import Ending, Fate, Proxy, proxy
from webhook_app.store.engine import Store
from webhook_app.store.listen import Wakeups

SEEN_WITHIN_S = 2.0
PATIENCE_S = 20.0
MUTE = Fate(cut_after=0, ending=Ending.SILENCE)
# Only PostgreSQL has notifications.
pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
Heard = queue.Queue[set[str] | None]


@pytest.fixture
def line(database_url: str) -> Iterator[Proxy]:
    """The way to the database that the listener takes."""
    there = make_url(database_url)
    with proxy((there.host or "127.0.0.1", there.port or 5432)) as made:
        yield made


def through(database_url: str, line: Proxy) -> str:
    moved = make_url(database_url).set(host="127.0.0.1", port=line.port)
    moved = moved.update_query_dict({"sslmode": "disable", "gssencmode": "disable"})
    return moved.render_as_string(hide_password=False)


@pytest.fixture
def wakeups(database_url: str, line: Proxy) -> Iterator[Wakeups]:
    store = Store(database_url, listen_url=through(database_url, line))
    made = Wakeups(store)
    yield made
    made.stop()
    store.dispose()


def hear_again(heard: Heard, within_s: float) -> None:
    """Until everybody is told to read again."""
    while heard.get(timeout=within_s) is not None:
        pass


def test_a_deaf_listener_has_everybody_read_again_until_it_hears(wakeups: Wakeups, line: Proxy) -> None:
    heard: Heard = queue.Queue()
    wakeups.subscribe(heard.put)
    wakeups.start()
    hear_again(heard, PATIENCE_S)  # It listens.
    with pytest.raises(queue.Empty):
        heard.get(timeout=SEEN_WITHIN_S)  # Nobody is bothered while it hears itself.
    assert not wakeups.deaf
    line.script = lambda number: MUTE
    line.silence_all()
    silent_since = time.monotonic()
    hear_again(heard, SEEN_WITHIN_S)
    assert wakeups.deaf
    assert time.monotonic() - silent_since < SEEN_WITHIN_S
    hear_again(heard, SEEN_WITHIN_S)  # And again, as long as it lasts.
    line.script = lambda number: Fate()
    eventually(lambda: not wakeups.deaf, "it listens on a connection that lives", PATIENCE_S)


def test_a_long_poll_sees_a_change_within_two_seconds_of_a_deaf_listener(
    database_url: str, line: Proxy, tmp_path: Path
) -> None:
    port, other_port = databases.free_port(), databases.free_port()
    with installation(database_url, tmp_path, port) as app:
        app.start("web", PORT=str(other_port))
        app.start_web(DATABASE_LISTEN_URL=through(database_url, line))
        track_ids = [app.submit(f"deaf {n}").json()["track_id"] for n in range(2)]

        def shown(metric: str, value: float) -> bool:
            pattern = rf'^webhook_app_{metric}{{pid="\d+"}} {value}$'
            return re.search(pattern, app.call("GET", "/metrics").text, re.MULTILINE) is not None

        def wait(track_id: str) -> tuple[str, float]:
            job = app.call("GET", f"/v1/jobs/{track_id}?wait=30").json()
            return job["status"], time.monotonic()

        def cancel(track_id: str) -> float:
            """In another process, so that the waiting one can only be told by the database."""
            url = f"http://127.0.0.1:{other_port}/v1/jobs/{track_id}/cancel"
            answer = requests.post(url, headers={"Authorization": f"Bearer {app.key}"}, timeout=PATIENCE_S)
            assert answer.status_code == 200
            return time.monotonic()

        with ThreadPoolExecutor(1) as pool:
            for track_id in track_ids:  # The second begins to wait when LISTEN is deaf already.
                waits = pool.submit(wait, track_id)
                eventually(lambda: shown("waiters", 1.0), "it waits")
                eventually(lambda: line.connections, "it listens")
                line.script = lambda number: MUTE
                line.silence_all()
                canceled_at = cancel(track_id)
                status, answered_at = waits.result(PATIENCE_S)
                assert (status, answered_at - canceled_at < SEEN_WITHIN_S) == ("canceled", True)
        eventually(lambda: shown("notifications_lost", 1.0), "it is shown")
