"""Ids, instants, names of objects, and the words of a job."""

import time
import uuid
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook_app.domain import ids, schedule
from webhook_app.domain.errors import ErrorCode, JobError
from webhook_app.domain.job import ArchiveStatus, ImageStatus, archive_status_of
from webhook_app.domain.keys import blob_key, thumbnail_key

P, A, L, E = ImageStatus.PENDING, ImageStatus.ARCHIVED, ImageStatus.LOST, ImageStatus.ERASED
JITTER = st.floats(0, 1, exclude_max=True)
ANY_ETA = st.none() | st.floats(allow_nan=True, allow_infinity=True)


def test_a_track_id_is_a_uuid_of_version_7() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid.UUID(ids.new_track_id())
    after = time.time_ns() // 1_000_000
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= after


def test_track_ids_sort_by_time() -> None:
    first = ids.new_track_id()
    time.sleep(0.003)
    assert first < ids.new_track_id()


def test_only_the_canonical_form_is_a_track_id() -> None:
    made = ids.new_track_id()
    assert ids.is_track_id(made)
    for other in (made.upper(), made + "\n", made.replace("-", ""), f"{{{made}}}", str(uuid.uuid4()), "", made[:-1]):
        assert not ids.is_track_id(other)


def test_ids_carry_at_least_128_random_bits() -> None:
    made = {ids.new_id("img") for _ in range(1000)}
    assert len(made) == 1000
    assert all(len(one) == 30 and one.startswith("img_") and one == one.lower() for one in made)
    assert len(ids.new_api_key()) == len("wapp_") + 43


def test_the_first_poll_follows_the_eta_within_bounds() -> None:
    assert schedule.first_poll_after(None) == timedelta(seconds=2)
    assert schedule.first_poll_after(17.5) == timedelta(seconds=17.5)
    assert schedule.first_poll_after(1e300) == timedelta(seconds=60)


@given(ANY_ETA)
def test_no_eta_leaves_the_bounds(eta: float | None) -> None:
    assert timedelta(seconds=2) <= schedule.first_poll_after(eta) <= timedelta(seconds=60)
    assert timedelta(seconds=120) <= schedule.slot_held_for(eta) <= timedelta(days=2)


def test_polls_grow_by_half_up_to_thirty_seconds() -> None:
    spans = [schedule.next_poll_after(n) / timedelta(seconds=1) for n in range(8)]
    assert spans[:3] == [3, 4.5, 6.75]
    assert spans == sorted(spans)
    assert spans[-1] == schedule.next_poll_after(10**9).total_seconds() == 30


def test_late_looks_are_at_a_quarter_one_and_six_hours() -> None:
    looks = [schedule.late_look_after(timedelta(minutes=m)) for m in (0, 15, 60, 360)]
    assert looks == [timedelta(minutes=15), timedelta(hours=1), timedelta(hours=6), None]


@given(tries=st.integers(0, 10**6), jitter=JITTER)
def test_back_off_stays_between_half_and_all_of_its_span(tries: int, jitter: float) -> None:
    span = min(2.0 ** min(tries, 20), 60.0)
    assert span / 2 <= schedule.backoff(tries, jitter=jitter).total_seconds() <= span
    assert schedule.fetch_backoff(tries, jitter=jitter) <= timedelta(minutes=10)


def test_the_same_bytes_have_one_name() -> None:
    sha256 = "abcd" + "0" * 60
    assert blob_key(sha256) == f"blobs/ab/cd/{sha256}"
    assert thumbnail_key(sha256, 256) == f"thumbnails/ab/cd/{sha256}-256.webp"


@pytest.mark.parametrize(
    ("images", "status"),
    [
        ([], ArchiveStatus.NONE),
        ([A], ArchiveStatus.ARCHIVED),
        ([A, A], ArchiveStatus.ARCHIVED),
        ([A, P], ArchiveStatus.PENDING),
        ([L, P], ArchiveStatus.PENDING),
        ([A, L], ArchiveStatus.PARTIAL),
        ([L, L], ArchiveStatus.LOST),
        ([E, E], ArchiveStatus.ERASED),
    ],
)
def test_the_archive_status_follows_from_the_pictures(images: list[ImageStatus], status: ArchiveStatus) -> None:
    assert archive_status_of(images) is status


def test_an_error_keeps_the_provider_s_words() -> None:
    error = JobError(ErrorCode.GENERATION_FAILED, "It failed.", True, "Try Again")
    other = error.with_code(ErrorCode.ATTEMPTS_EXHAUSTED, "Three times.")
    assert other.as_json() == {
        "code": "attempts_exhausted",
        "message": "Three times.",
        "retryable": True,
        "provider_message": "Try Again",
    }
