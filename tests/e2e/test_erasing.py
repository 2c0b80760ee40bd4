"""Erasing in an installation of real processes: the words are gone from every table and file, and so is the provider's
copy."""

from pathlib import Path
from typing import Any

import requests

from tests.e2e.installation import Installation, eventually, installation
from tests.e2e.test_secrets import everything_in

WORD = "xylophone-of-nobody"


def erased(app: Installation, erasure_id: str) -> dict[str, Any]:
    def done() -> dict[str, Any] | None:
        erasure: dict[str, Any] = app.call("GET", f"/v1/erasures/{erasure_id}").json()
        return erasure if erasure["status"] == "done" else None

    erasure: dict[str, Any] = eventually(done, "the job is erased")
    return erasure


def places_with(word: str, database_url: str, folder: Path) -> list[str]:
    files = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found = [name for name, content in files.items() if word.encode() in content]
    return found + ["database"] * (word in everything_in(database_url))


def test_nothing_is_left_of_an_erased_job(database_url: str, tmp_path: Path, free_port: int) -> None:
    with installation(database_url, tmp_path, free_port) as app:
        app.start_web()
        app.start("worker")
        named = {"reference": WORD, "tags": [WORD], "metadata": {WORD: WORD}, "input": {"seed": 7}}
        mine, other = (app.submit(f"a {WORD}", **named).json()["track_id"] for _ in range(2))
        source = app.archived(mine)["images"][0]["source_url"]
        assert app.archived(other)["images"][0]["sha256"]
        assert "database" in places_with(WORD, database_url, tmp_path / "data")
        asked = app.call("DELETE", f"/v1/jobs/{mine}")
        assert (asked.status_code, app.call("GET", f"/v1/jobs/{mine}").status_code) == (202, 410)
        done = erased(app, asked.json()["erasure_id"])
        assert done["provider_copy"] == "deleted"
        (deletion,) = app.ledger("delete")
        assert (deletion["track_id"], deletion["deleted"]) == (mine, True)
        assert requests.get(source, timeout=10).status_code == 404
        image_id = app.call("GET", f"/v1/jobs/{other}").json()["images"][0]["image_id"]
        assert app.call("GET", f"/images/{image_id}.png").status_code == 200
        many = app.call("POST", "/v1/erasures", json={"filter": {"reference": WORD}}).json()
        assert many["matched"] == 1
        erased(app, many["erasure_id"])
        assert places_with(WORD, database_url, tmp_path / "data") == []
        archive = tmp_path / "data" / "archive"
        kept = {path.relative_to(archive).parts[0] for path in archive.rglob("*") if path.is_file()}
        assert kept <= {"heads"}, "the log's heads stay, and hold no content"
        assert WORD not in "".join(process.log.read_text() for process in app.processes[1:])
