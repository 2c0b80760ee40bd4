"""Nothing secret gets out: canaries are planted, the whole path is walked, and everything written is scanned."""

from pathlib import Path

import requests
from sqlalchemy import inspect, text

from tests.e2e.installation import PROVIDER_KEY, SECRET, Installation, installation
from webhook_app.store.engine import Store


def everything_in(database_url: str) -> str:
    """Every value of every row."""
    store = Store(database_url)
    with store.reading() as connection:
        tables = inspect(connection).get_table_names()
        rows = [str(row) for table in tables for row in connection.execute(text(f'SELECT * FROM "{table}"'))]
    store.dispose()
    return "\n".join(rows)


def walk(app: Installation) -> str:
    """One job to its end, one refused by the provider, and every answer that a client can get about them."""
    good = app.archived(app.submit("a canary sings").json()["track_id"])
    app.provider(ending="failed")
    bad = app.archived(app.submit("a canary falls", timeout_s=30).json()["track_id"])
    answers = []
    for job in (good, bad):
        for path in ("", "/events", "/attempts", "/callbacks"):
            answers.append(app.call("GET", f"/v1/jobs/{job['track_id']}{path}").text)
    open_routes = (
        "/",
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/docs/errors",
        "/callbacks/modelslab/x/1.y",
        "/nothing",
    )
    answers += [requests.get(app.url + path, timeout=10).text for path in open_routes]
    answers.append(app.call("GET", "/v1/jobs").text)
    answers.append(app.call("POST", "/v1/jobs", data="{", headers={"Content-Type": "application/json"}).text)
    return "\n".join(answers)


def test_no_secret_is_ever_written_or_answered(database_url: str, tmp_path: Path, free_port: int) -> None:
    port = free_port
    with installation(database_url, tmp_path, port) as app:
        app.start_web()
        app.start("worker")
        answered = walk(app)
        submits = app.ledger("submit")
        tokens = [str(submit["webhook"]).rpartition(".")[2] for submit in submits if submit.get("webhook")]
        places = {"database": everything_in(database_url), "answers": answered}
        ours = [process for process in app.processes if not process.name.startswith("emulator")]
        places["answers"] += app.run("keys", "list").stdout + app.run("doctor").stdout
        places["logs"] = "".join(process.log.read_text(errors="replace") for process in ours)
        places["files"] = "".join(
            path.read_bytes().decode("latin-1")
            for path in (tmp_path / "data").rglob("*")
            if path.is_file() and "api-key" not in path.name
        )
    # What is certainly there is found: a scan that sees nothing would find no secret either.
    assert tokens
    assert "a canary falls" in places["database"]
    assert "a canary falls" in places["answers"]
    assert "worker.started" in places["logs"]
    assert "IHDR" in places["files"]
    for canary in (PROVIDER_KEY, SECRET, app.key, *tokens):
        found = [place for place, content in places.items() if canary in content]
        assert not found, f"{canary[:12]}… stands in {found}"
