"""Percentiles from counted durations stay within the error that is stated."""

import math
import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook_app.domain.durations import RELATIVE_ERROR, SHORTEST_S, cell_of, percentile, seconds_between, seconds_of

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@given(st.floats(min_value=SHORTEST_S, max_value=1e9))
def test_a_cell_tells_its_durations_within_the_stated_error(seconds: float) -> None:
    assert seconds_of(cell_of(seconds)) == pytest.approx(seconds, rel=RELATIVE_ERROR)


@pytest.mark.parametrize("percent", [1, 50, 95, 99, 100])
def test_a_percentile_is_that_of_the_sorted_durations(percent: float) -> None:
    draw = random.Random(percent)
    for size in (1, 2, 3, 100, 1999):
        spans = sorted(draw.lognormvariate(2, 1.5) for _ in range(size))
        exact = spans[math.ceil(size * percent / 100) - 1]
        assert percentile(Counter(map(cell_of, spans)), percent) == pytest.approx(exact, rel=RELATIVE_ERROR)


def test_nothing_has_no_percentile() -> None:
    assert percentile({}, 95) is None


def test_the_shortest_spans_are_counted_together() -> None:
    assert cell_of(0.0) == cell_of(SHORTEST_S)


def test_a_clock_that_went_back_gives_no_negative_span() -> None:
    assert seconds_between(NOW, NOW - timedelta(seconds=1)) == 0.0
    assert seconds_between(NOW, NOW + timedelta(milliseconds=1500)) == 1.5
    assert seconds_between(None, NOW) is None
