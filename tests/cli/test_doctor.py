"""The doctor's findings, with a stranger, an impostor and the right one behind PUBLIC_URL."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.buckets import Service
from tests.cli.conftest import Run
from webhook_app.domain.tokens import Tokens
from webhook_app.storage.spool import FileSpool

SECRET = "s" * 32
LOCAL = {"MODELSLAB_URL": "http://127.0.0.1:9/api", "MODELSLAB_API_KEY": "key-1234", "SECRET_KEY": SECRET}


@contextmanager
def answering(answer: Callable[[str], object]) -> Iterator[str]:
    """A server that answers a nonce; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            assert parts.path == "/.well-known/webhook-app/nonce"
            body = json.dumps(answer(parse_qs(parts.query)["nonce"][0])).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def signed_by(secret: str) -> Callable[[str], object]:
    return lambda nonce: {"nonce": nonce, "signature": Tokens((secret,)).sign("doctor", nonce)}


def findings(run: Run, **variables: str) -> tuple[int, dict[str, tuple[str, str]]]:
    result = run("doctor", "--output", "json", **{**LOCAL, **variables})
    told = json.loads(result.stdout)
    assert told["sound"] is (result.exit_code == 0)
    return result.exit_code, {found["check"]: (found["verdict"], found["detail"]) for found in told["checks"]}


def test_a_sound_installation_passes_every_check(run: Run):
    assert run("db", "upgrade").exit_code == 0
    with answering(signed_by(SECRET)) as url:
        code, found = findings(run, PUBLIC_URL=url)
        assert run("doctor", PUBLIC_URL=url, **LOCAL).stdout.count(" ok ") >= 7
    assert code == 0, found
    assert {"settings", "provider", "callbacks", "database", "archive", "clock", "SQLite", "public URL"} <= found.keys()
    assert "key-1234" not in str(found)


def test_another_installation_behind_the_public_url_is_found_out(run: Run):
    assert run("db", "upgrade").exit_code == 0
    with answering(signed_by("t" * 32)) as url:
        code, found = findings(run, PUBLIC_URL=url)
    assert code == 1
    assert found["public URL"][0] == "failed"


def test_something_else_behind_the_public_url_is_found_out(run: Run):
    assert run("db", "upgrade").exit_code == 0
    with answering(lambda nonce: ["hello"]) as url:
        code, found = findings(run, PUBLIC_URL=url)
    assert (code, found["public URL"][0]) == (1, "failed")


def test_nothing_behind_the_public_url_is_a_failure(run: Run):
    assert run("db", "upgrade").exit_code == 0
    code, found = findings(run, PUBLIC_URL="http://127.0.0.1:9")
    assert (code, found["public URL"][0]) == (1, "failed")


def test_callbacks_without_https_fail_for_a_distant_provider(run: Run):
    code, found = findings(run, MODELSLAB_URL="https://modelslab.com/api/v1/enterprise")
    assert code != 0
    assert found["callbacks"][0] == "failed"


def test_a_missing_database_is_named_and_not_made(run: Run, tmp_path: Path):
    code, found = findings(run)
    assert code == 3
    assert str(tmp_path / "data" / "webhook-app.db") in found["database"][1]
    assert not (tmp_path / "data").exists()


def test_an_unusable_setting_is_a_finding(run: Run):
    code, found = findings(run, PORT="nonsense")
    assert (code, found["settings"][0]) == (1, "failed")


def test_what_waits_in_the_spool_and_what_is_unreadable_is_told(run: Run, tmp_path: Path):
    assert run("db", "upgrade").exit_code == 0
    spool = FileSpool(tmp_path / "spool")
    _, found = findings(run, SPOOL_DIR=str(tmp_path / "spool"))
    assert found["spool"] == ("ok", f"0 callbacks wait, 0 are unreadable in {tmp_path / 'spool'}")
    spool.append([b"one", b"two"])
    (tmp_path / "spool" / "1-a.unreadable").write_bytes(b"torn\n")
    _, found = findings(run, SPOOL_DIR=str(tmp_path / "spool"))
    assert found["spool"][0] == "warning"
    assert found["spool"][1].startswith("2 callbacks wait, 1 are unreadable in ")


def test_an_archive_that_cannot_be_written_is_a_finding(run: Run, tmp_path: Path):
    assert run("db", "upgrade").exit_code == 0
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    _, found = findings(run, ARCHIVE_URL=(in_the_way / "archive").as_uri())
    assert found["archive"][0] == "failed"


def test_a_bucket_is_tried_and_what_is_wrong_with_it_is_told_without_its_keys(
    run: Run, s3: Service, monkeypatch: pytest.MonkeyPatch
):
    assert run("db", "upgrade").exit_code == 0
    _, found = findings(run, ARCHIVE_URL=s3.url("doctor"))
    assert found["archive"] == ("ok", f"bucket pictures/doctor at {s3.endpoint}")
    _, found = findings(run, ARCHIVE_URL=s3.url("doctor", bucket="not-made"))
    assert found["archive"][0] == "failed"
    assert "there is no such bucket" in found["archive"][1]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    _, found = findings(run, ARCHIVE_URL=s3.url("doctor"))
    assert "the secret key is wrong" in found["archive"][1]
    assert "not-the-secret" not in found["archive"][1]
    assert s3.objects("doctor") == []


def test_a_database_out_of_reach_is_explained_without_its_password(run: Run):
    code, found = findings(run, DATABASE_URL="postgresql://anna:hunter2@127.0.0.1:1/pictures")
    verdict, detail = found["database"]
    assert (code, verdict) == (1, "failed")
    assert "127.0.0.1" in detail
    assert "hunter2" not in detail
