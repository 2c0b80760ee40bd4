"""More clients than there is room for (reliability.md, H30): those that wait, those that say nothing, and those that
read nothing. Callbacks go on. gthread on SQLite, gevent on PostgreSQL."""

import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from tests.e2e.installation import SECRET, Installation, eventually, installation
from webhook_app.cli import server
from webhook_app.domain.tokens import Tokens

TOKENS = Tokens((SECRET,))
WAITERS, THREADS = 20, 40
FLOOD = 200
SILENT, HALF_SAID = 400, 60
AT_ONCE_S = 15.0  # On a machine that does much else; nobody waits 60 s.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def app(database_url: str, tmp_path: Path, free_port: int) -> Iterator[Installation]:
    with installation(database_url, tmp_path, free_port) as made:
        made.start_web(MAX_WAITERS=str(WAITERS), WEB_THREADS=str(THREADS))
        yield made


def connect(app: Installation, said: str = "") -> socket.socket:
    end = socket.create_connection(("127.0.0.1", int(app.env["PORT"])), timeout=30)
    end.sendall(said.encode())
    return end


def callback(app: Installation, track_id: str) -> int:
    path = f"/callbacks/modelslab/{track_id}/{TOKENS.callback('modelslab', track_id, 1)}"
    return requests.post(app.url + path, json={"status": "processing"}, timeout=30).status_code


def test_a_flood_of_waiters_is_answered_at_once_and_callbacks_go_on(app: Installation) -> None:
    track_id = app.submit("awaited").json()["track_id"]
    path = f"/v1/jobs/{track_id}?wait=60"

    def waiters() -> int:
        found = re.search(r'^webhook_app_waiters\{pid="\d+"\} (\d+)', app.call("GET", "/metrics").text, re.MULTILINE)
        return int(found[1]) if found else 0

    with ExitStack() as stack:
        for _ in range(WAITERS):
            asked = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {app.key}\r\n\r\n"
            stack.enter_context(connect(app, asked))
        eventually(lambda: waiters() == WAITERS, "all places are taken")
        began_at = time.monotonic()
        with ThreadPoolExecutor(THREADS) as pool:
            answers = list(pool.map(lambda _: app.call("GET", path), range(FLOOD)))
            assert callback(app, track_id) == 200
        assert {answer.status_code for answer in answers} == {200}
        assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)
        assert not any("Preference-Applied" in answer.headers for answer in answers)
        submitted = app.submit("over the cap", headers={"Prefer": "wait=60"})
        assert (submitted.status_code, "Preference-Applied" in submitted.headers) == (202, False)
        refused = app.call("POST", "/v1/jobs/wait", json={"track_ids": [track_id]})
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_waiters")
        assert time.monotonic() - began_at < 60
        assert waiters() == WAITERS


def test_those_that_say_nothing_or_half_keep_nobody_out(app: Installation) -> None:
    track_id = app.submit("not kept out").json()["track_id"]
    with ExitStack() as stack:
        for _ in range(SILENT):
            stack.enter_context(connect(app))
        began_at = time.monotonic()
        assert callback(app, track_id) == 200
        assert app.call("GET", f"/v1/jobs/{track_id}").status_code == 200
        assert time.monotonic() - began_at < AT_ONCE_S
        # A head that is not ended holds a thread under gthread, until it has been silent for long enough.
        for _ in range(HALF_SAID):
            stack.enter_context(connect(app, "POST /v1/jobs HTTP/1.1\r\nHost: x\r\n"))
        assert callback(app, track_id) == 200
        assert time.monotonic() - began_at < AT_ONCE_S + 2 * server.SILENT_FOR_S


def test_a_client_that_reads_nothing_is_given_up() -> None:
    """As every connection of the server is, which takes a minute."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server.give_up_the_silent(listener, unread_for_s=1)
        with socket.create_connection(listener.getsockname()) as client, listener.accept()[0] as end:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            began_at = time.monotonic()
            with pytest.raises(OSError, match=r"timed out|reset|Broken pipe"):
                end.sendall(bytes(64 << 20))
            assert time.monotonic() - began_at < 30
