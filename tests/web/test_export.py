"""`GET /v1/export`: everything that the filters leave, page after page, in both forms; hostile cells are made inert."""

import csv
import io
import json
from datetime import timedelta
from typing import Any

import pytest

from tests.web.conftest import NOW, Api
from tests.web.test_problems import problem
from webhook_app.web.answers import JobAnswer
from webhook_app.web.api import export

HOSTILE = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0"]


def lines(api: Api, filters: str = "") -> list[dict[str, Any]]:
    answer = api.get(f"/v1/export?format=jsonl{filters}")
    assert (answer.status_code, answer.content_type) == (200, "application/x-ndjson")
    assert answer.text == "" or answer.text.endswith("\n")
    return [json.loads(line) for line in answer.text.splitlines()]


def table(api: Api, filters: str = "") -> list[dict[str, str]]:
    answer = api.get(f"/v1/export?format=csv{filters}")
    assert (answer.status_code, answer.content_type) == (200, "text/csv; charset=utf-8")
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


def test_each_line_is_the_job_as_its_status_shows_it(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "PAGE", 2)  # A limit of ours, not a function: to have pages of few jobs.
    ids = [api.submit(f"picture {n}") for n in range(5)]
    for n, track_id in enumerate(ids):
        api.change_job(track_id, created_at=NOW + timedelta(seconds=n // 2))
    found = lines(api)
    assert [job["track_id"] for job in found] == ids[::-1]
    for job in found:
        JobAnswer.model_validate(job)
    assert found[0] == api.get(f"/v1/jobs/{ids[-1]}").json
    assert [row["track_id"] for row in table(api, "&order=created_at")] == ids
    assert len(lines(api, "&order=created_at&created_after=2026-11-01T12:00:01Z")) == 3


def test_the_lists_filters_hold_and_erased_jobs_are_left_out(api: Api) -> None:
    kept = api.submit("kept", reference="r", metadata={"n": 5}, tags=["a"])
    gone = api.submit("gone", reference="r")
    api.delete(f"/v1/jobs/{gone}")
    api.submit("other")
    for filters in ("&reference=r", "&metadata.n=5", "&tag=a&tag=b", "&q=kept"):
        assert [job["track_id"] for job in lines(api, filters)] == [kept]
    assert (lines(api, "&status=failed"), table(api, "&status=failed")) == ([], [])


def test_a_client_exports_its_own_jobs_alone(api: Api, stranger: Api, admin: Api) -> None:
    track_id = api.submit()
    assert lines(stranger) == []
    assert [job["track_id"] for job in lines(admin)] == [track_id]
    client_id = lines(api)[0]["client_id"]
    problem(stranger.get(f"/v1/export?client_id={client_id}"), 403, "insufficient_scope")
    assert len(lines(admin, f"&client_id={client_id}")) == 1


@pytest.mark.parametrize("wrong", ["format=xml", "limit=5", "status=done", "cursor=x"])
def test_what_is_no_filter_is_refused(api: Api, wrong: str) -> None:
    assert api.get(f"/v1/export?{wrong}").status_code == 422


def test_cells_that_a_spreadsheet_would_run_are_made_inert(api: Api) -> None:
    for text in HOSTILE:
        api.submit(f"{text} x", reference=text, tags=[text], metadata={"a": text})
    rows = table(api, "&order=created_at")
    assert [row["reference"] for row in rows] == [f"'{text}" for text in HOSTILE]
    assert [row["prompt"] for row in rows] == [f"'{text} x" for text in HOSTILE]
    for row in rows:
        assert not [cell for cell in row.values() if cell.startswith(export.FORMULA)]
    assert [job["reference"] for job in lines(api, "&order=created_at")] == HOSTILE


def test_the_columns_hold_what_the_job_has(api: Api) -> None:
    track_id = api.submit('a "quoted",\nlong prompt', priority=-5, tags=["a", "b"], input={"samples": 2, "seed": 7})
    error = {"code": "no_result", "message": "It did not.", "retryable": True, "provider_message": None}
    api.change_job(track_id, status="timed_out", completed_at=NOW, error=error)
    (row,) = table(api)
    assert (row["track_id"], row["prompt"], row["seed"]) == (track_id, 'a "quoted",\nlong prompt', "7")
    assert (row["status"], row["error_code"], row["completed_at"]) == ("timed_out", "no_result", "2026-11-01T12:00:00Z")
    assert (row["priority"], row["tags"], row["samples"]) == ("-5", '["a","b"]', "2")
    assert (len(row["image_urls"].split()), row["image_sha256s"], row["batch_id"]) == (2, " ", "")
