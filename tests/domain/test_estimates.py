"""How long a job takes: learned from its kind, newest first, and never from one job alone."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from webhook_app.domain.durations import RELATIVE_ERROR, cell_of
from webhook_app.domain.estimates import (
    ANY,
    LEAST_JOBS,
    Counted,
    Estimate,
    History,
    begun_ready_at,
    kind_of,
    learned,
    look_again_after_s,
    queued_ready_at,
    running_ready_at,
)

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
USUAL = Estimate(4.0, 9.0)


def made(kind: str, seconds: float, jobs: int, minutes_ago: int) -> Counted:
    return Counted(kind, cell_of(seconds), jobs, NOW - timedelta(minutes=minutes_ago))


def about(seconds: float) -> object:
    return pytest.approx(seconds, rel=RELATIVE_ERROR)


@pytest.mark.parametrize(
    ("input", "samples", "kind"),
    [
        ({"width": 256, "height": 256}, 1, "1x0"),
        ({}, 1, "1x2"),
        ({"width": 512, "height": 512}, 4, "4x2"),
        ({"width": 768, "height": 1024}, 2, "2x4"),
        ({"width": 1024, "height": 768}, 2, "2x4"),
        ({"width": 1024, "height": None}, 1, "1x3"),
        ({"width": 8, "height": 8}, 1, "1x0"),
    ],
)
def test_a_kind_is_the_number_of_pictures_and_their_size(input: dict[str, int], samples: int, kind: str) -> None:
    assert kind_of(input, samples) == kind


def test_a_kind_with_enough_jobs_has_its_own_estimate() -> None:
    history = learned([made("1x2", 4, 30, 5), made("4x4", 20, 30, 5)], now=NOW)
    small, large = history.of("1x2"), history.of("4x4")
    assert small is not None
    assert large is not None
    assert (small.usual_s, small.late_s) == (about(4), about(4))
    assert (large.usual_s, large.late_s) == (about(20), about(20))


def test_one_with_too_few_is_expected_as_all_together_are() -> None:
    history = learned([made("1x2", 4, 30, 5), made("4x4", 20, LEAST_JOBS - 1, 5)], now=NOW)
    assert history.of("4x4") == history.of("never made") == history.of(ANY)
    assert history.of("4x4") != history.of("1x2")


def test_little_history_is_none() -> None:
    assert learned([made("1x2", 4, LEAST_JOBS - 1, 5)], now=NOW).of("1x2") is None
    assert History().of(ANY) is None
    assert learned([], now=NOW) == History()


def test_an_outlier_decides_nothing() -> None:
    honest = [made("1x2", 4, 1, minutes) for minutes in range(1, LEAST_JOBS)]
    estimate = learned([*honest, made("1x2", 600, 1, 0)], now=NOW).of("1x2")
    assert estimate is not None
    assert (estimate.usual_s, estimate.late_s) == (about(4), about(4))


def a_day(
    *, jobs_each: int, every_minutes: int, since_minutes: int, before_s: float, after_s: float
) -> Iterator[Counted]:
    """Jobs of a day whose speed has changed some minutes ago."""
    for minutes in range(0, 24 * 60, every_minutes):
        yield made("1x2", after_s if minutes < since_minutes else before_s, jobs_each, minutes)


@pytest.mark.parametrize(("jobs_each", "every_minutes"), [(50, 1), (1, 1), (1, 5)])
@pytest.mark.parametrize(("before_s", "after_s"), [(4, 16), (16, 4)])
def test_a_changed_speed_is_followed_within_an_hour(
    jobs_each: int, every_minutes: int, before_s: float, after_s: float
) -> None:
    estimates = {}
    for since in (0, 60):
        day = a_day(
            jobs_each=jobs_each, every_minutes=every_minutes, since_minutes=since, before_s=before_s, after_s=after_s
        )
        estimates[since] = learned(day, now=NOW).of("1x2")
    before, after = estimates[0], estimates[60]
    assert before is not None
    assert after is not None
    assert (before.usual_s, before.late_s) == (about(before_s), about(before_s))
    assert (after.usual_s, after.late_s) == (about(after_s), about(after_s))


def test_a_bucket_counts_whole_whatever_the_order() -> None:
    counted = [made("1x2", 4, LEAST_JOBS, 30), made("1x2", 60, 90, 30), made("1x2", 1, 500, 31)]
    for order in (counted, counted[::-1]):
        estimate = learned(order, now=NOW).of("1x2")
        assert estimate is not None
        assert estimate.usual_s == about(60)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_a_running_job_is_ready_as_half_of_its_kind_and_then_as_nine_of_ten() -> None:
    assert running_ready_at(after(-1), USUAL, 30, now=NOW) == after(3)
    assert running_ready_at(after(-5), USUAL, 30, now=NOW) == after(4)
    assert running_ready_at(after(-10), USUAL, 30, now=NOW) is None


def test_without_history_the_provider_s_word_counts() -> None:
    assert running_ready_at(after(-5), None, 30, now=NOW) == after(25)
    assert running_ready_at(after(-31), None, 30, now=NOW) is None
    assert running_ready_at(after(-5), None, None, now=NOW) is None
    assert running_ready_at(None, USUAL, None, now=NOW) is None


def test_a_queued_job_waits_for_those_before_it() -> None:
    assert queued_ready_at(NOW, 10, USUAL, Estimate(2.0, 3.0), slots=5) == after(8)
    assert queued_ready_at(after(60), 10, USUAL, Estimate(2.0, 3.0), slots=5) == after(68)
    assert queued_ready_at(NOW, None, USUAL, USUAL, slots=5) is None
    assert queued_ready_at(NOW, 1, None, None, slots=5) is None


def test_a_retry_after_is_within_a_minute() -> None:
    assert look_again_after_s(None, now=NOW, otherwise=7) == 7
    for seconds, told in ((0.2, 1), (-5, 1), (3.2, 4), (600, 60)):
        assert look_again_after_s(after(seconds), now=NOW, otherwise=7) == told
    assert begun_ready_at(None, USUAL, now=NOW) == after(4)
    assert begun_ready_at(after(-1), USUAL, now=NOW) == after(3)
