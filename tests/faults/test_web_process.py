"""A running web server under signals and under hostile bytes (reliability.md, F4, H10): gthread on SQLite, gevent on
PostgreSQL."""

import json
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException, HTTPResponse
from pathlib import Path

import pytest
import requests

from tests.e2e.installation import SECRET, Installation, Process, eventually, installation
from webhook_app.domain.ids import new_track_id
from webhook_app.domain.tokens import Tokens

MIB = 1 << 20
PATIENCE_S = 20
AT_ONCE = 8
TOKENS = Tokens((SECRET,))


@pytest.fixture
def app(database_url: str, tmp_path: Path, free_port: int) -> Iterator[Installation]:
    with installation(database_url, tmp_path, free_port) as made:
        yield made


def children(web: Process) -> set[int]:
    """The server's worker processes."""
    return {int(pid) for pid in Path(f"/proc/{web.popen.pid}/task/{web.popen.pid}/children").read_text().split()}


def callback_path(track_id: str) -> str:
    return f"/callbacks/modelslab/{track_id}/{TOKENS.callback('modelslab', track_id, 1)}"


class Load:
    """Clients that submit, read, wait and call back, each on a fresh connection, until told to stop."""

    def __init__(self, app: Installation) -> None:
        self._app, self._stopping = app, threading.Event()
        self.answers: Counter[tuple[str, int]] = Counter()
        self.faults: list[str] = []
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(AT_ONCE)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self, client: int) -> None:
        track_id, n = new_track_id(), 0
        while not self._stopping.is_set():
            n += 1
            try:
                made = self._app.submit(f"load {client} {n}")
                self.answers["submit", made.status_code] += 1
                track_id = made.json().get("track_id", track_id)
                for name, query in (("read", ""), ("wait", "?wait=1")):
                    seen = self._app.call("GET", f"/v1/jobs/{track_id}{query}")
                    self.answers[name, seen.status_code] += 1
                told = requests.post(self._app.url + callback_path(track_id), json={"status": "processing"}, timeout=20)
                self.answers["callback", told.status_code] += 1
            except requests.RequestException as error:
                self.faults.append(f"{type(error).__name__}: {error}")


def test_reloads_under_load_fail_no_request(app: Installation) -> None:
    reload_under_load(app, 3)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_twenty_reloads_under_load_fail_no_request(app: Installation) -> None:
    reload_under_load(app, 20)


def reload_under_load(app: Installation, times: int) -> None:
    web = app.start_web()
    with Load(app) as load:
        for _ in range(times):
            before, answered = children(web), sum(load.answers.values())
            web.popen.send_signal(signal.SIGHUP)
            eventually(lambda before=before: len(children(web)) == 1 and not children(web) & before, "it has reloaded")
            eventually(lambda answered=answered: sum(load.answers.values()) > answered + 2 * AT_ONCE, "work goes on")
    assert load.faults == []
    assert set(load.answers) == {("submit", 202), ("read", 200), ("wait", 200), ("callback", 200)}


def test_a_stop_ends_every_wait_and_answers_it(app: Installation) -> None:
    web = app.start_web(MAX_WAITERS=str(AT_ONCE))
    track_ids = [app.submit(f"waiting {n}").json()["track_id"] for n in range(AT_ONCE)]

    def held(track_id: str, wait_s: int) -> requests.Response | None:
        """The answer, None when it came at once because all places were taken."""
        answer = app.call("GET", f"/v1/jobs/{track_id}?wait={wait_s}")
        return answer if "Preference-Applied" in answer.headers else None

    def wait(track_id: str) -> requests.Response:
        found: requests.Response = eventually(lambda: held(track_id, 60), "there is a place")
        return found

    with ThreadPoolExecutor(AT_ONCE) as pool:
        waits = [pool.submit(wait, track_id) for track_id in track_ids]
        eventually(lambda: held(track_ids[0], 1) is None, "all places are taken")
        web.popen.send_signal(signal.SIGTERM)
        answers = [one.result(timeout=PATIENCE_S) for one in waits]
    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(200, "queued")] * AT_ONCE
    assert web.stop() == 0


def answer_to(app: Installation, head: str, *pieces: bytes, ends: bool = False) -> tuple[int, dict[str, object]]:
    """Status and problem that the server answers to these bytes; status 0 when it only closes."""
    with socket.create_connection(("127.0.0.1", int(app.env["PORT"])), timeout=PATIENCE_S) as end:
        try:
            end.sendall(head.encode("latin-1"))
            for piece in pieces:
                end.sendall(piece)
            if ends:
                end.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # It has seen enough and reset the connection, perhaps between two pieces; its answer is still there.
        try:
            answer = HTTPResponse(end, method="POST")
            answer.begin()
            body = answer.read()
        except (HTTPException, ConnectionResetError):
            return 0, {}
    return answer.status, json.loads(body) if body.startswith(b"{") else {}


def request_head(app: Installation, path: str, *lines: str) -> str:
    known = ["Host: x", f"Authorization: Bearer {app.key}", "Content-Type: application/json", *lines]
    return f"POST {path} HTTP/1.1\r\n" + "\r\n".join(known) + "\r\n\r\n"


def test_bodies_and_heads_without_measure_are_refused_and_the_worker_lives(app: Installation) -> None:
    web = app.start_web()
    before = children(web)
    for path in ("/v1/jobs", callback_path(new_track_id())):
        status, problem = answer_to(app, request_head(app, path, f"Content-Length: {100 * MIB}"), b"x" * 65_536)
        assert (status, problem.get("code")) == (413, "too_large"), path

        # Chunks without an end: the answer comes when one MiB has been read, though nobody said how much there will be.
        chunks = [b"10000\r\n" + b"x" * 65_536 + b"\r\n"] * 20
        status, problem = answer_to(app, request_head(app, path, "Transfer-Encoding: chunked"), *chunks)
        assert (status, problem.get("code")) == (413, "too_large"), path

        for lie in ("-1", "abc", "1e3", "0x10", "+5", "5 5", "9" * 40):
            status, _ = answer_to(app, request_head(app, path, f"Content-Length: {lie}"), b'{"a":', ends=True)
            assert status in (400, 413), (path, lie)
        twice = request_head(app, path, "Content-Length: 2", "Content-Length: 5")
        assert answer_to(app, twice, b"{}")[0] == 400
        both = request_head(app, path, "Content-Length: 2", "Transfer-Encoding: chunked")
        assert answer_to(app, both, b"0\r\n\r\n")[0] == 400

        # More was promised than came. Of a callback that is kept, as nobody sends it again.
        cut = answer_to(app, request_head(app, path, "Content-Length: 1000"), b"{}", ends=True)[0]
        assert cut == (400 if path == "/v1/jobs" else 200)

        many = [f"X-{n}: a" for n in range(101)]
        assert answer_to(app, request_head(app, path, *many))[0] in (400, 431), path
        assert answer_to(app, request_head(app, path, "X-Long: " + "a" * 9_216))[0] in (400, 431), path
        assert answer_to(app, f"POST {path}?{'a' * 9_216} HTTP/1.1\r\nHost: x\r\n\r\n")[0] in (400, 414), path
    assert requests.get(f"{app.url}/healthz", timeout=10).status_code == 200
    assert children(web) == before
    assert app.call("GET", "/v1/jobs").json()["data"] == []


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_worker_stopped_past_its_lease_tells_what_it_heard_and_pays_once(app: Installation) -> None:
    """F24 with real signals; the flows' own tests turn the clock instead."""
    app.provider(submit_fault="slow", slow_s=3, callback="never")
    app.start_web()
    stopped = app.start("worker")
    track_id = app.submit("stopped").json()["track_id"]
    eventually(lambda: app.ledger("submit", track_id), "the provider has the request")
    stopped.popen.send_signal(signal.SIGSTOP)
    app.start("worker")

    def job() -> dict[str, object]:
        found: dict[str, object] = app.call("GET", f"/v1/jobs/{track_id}").json()
        return found

    eventually(lambda: job()["waiting_for"] == "confirmation", "the lease has run out", patience_s=90)
    stopped.popen.send_signal(signal.SIGCONT)
    eventually(lambda: job()["status"] == "succeeded", "the answer counts")
    assert (job()["attempt"], len(app.ledger("submit", track_id))) == (1, 1)
