"""Results that grow: written as they come, and a whole document in the end."""

import json
from datetime import UTC, datetime

import pytest

from webhook_app.cli.output import Report

COLUMNS = (("name", 6), ("size", 4), ("why", 0))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_json_report_is_one_document_however_many_items_it_has(
    capsys: pytest.CaptureFixture[str], count: int
) -> None:
    report, at = Report("json", "objects"), datetime(2026, 3, 1, 12, tzinfo=UTC)
    for n in range(count):
        report.add({"n": n, "at": at, "text": 'a "word", an end: ]}'}, [])
    report.end({"count": count, "stopped": None}, "")
    items = [{"n": n, "at": "2026-03-01T12:00:00Z", "text": 'a "word", an end: ]}'} for n in range(count)]
    assert json.loads(capsys.readouterr().out) == {"objects": items, "count": count, "stopped": None}


@pytest.mark.parametrize("output", ["json", "text"])
def test_an_item_is_written_before_the_next_one_comes(capsys: pytest.CaptureFixture[str], output: str) -> None:
    report = Report(output, "objects", COLUMNS)
    for word in ("first", "second"):
        report.add({"word": word}, [word, "1", "because"])
        assert word in capsys.readouterr().out


def test_lines_stand_under_their_head(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report("text", "objects", COLUMNS)
    report.add({}, ["a", "1", "x"])
    report.add({}, ["abc", "22", ""])
    report.end({}, "count: 2")
    assert capsys.readouterr().out.splitlines() == [
        "name    size  why",
        "a       1     x",
        "abc     22",
        "count: 2",
    ]
