"""The storm in CI's size: F2 and F5 of reliability.md together, on both databases."""

from pathlib import Path

import pytest

from tests.crash.storm import Plan, prepared, verdicts

SEED = 20261125


@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_200_jobs_outlive_a_kill_each_second(kind: str, tmp_path: Path, free_port: int) -> None:
    with prepared(Plan(jobs=200, seed=SEED, most_kills=25), kind, tmp_path, free_port) as storm:
        seen = storm.run()
        assert {name: wrong for name, wrong in verdicts(seen).items() if wrong} == {}, storm.figures(seen)
        assert storm.kills >= 20
        assert len(seen.jobs) == 200
