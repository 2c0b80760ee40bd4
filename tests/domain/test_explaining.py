"""Every way in which a job can stand has its sentence, its next step and, where it is known, its time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook_app.domain.errors import ErrorCode, JobError
from webhook_app.domain.events import EventType
from webhook_app.domain.explaining import Attempt, Case, Confirmation, Pause, Picture, explain
from webhook_app.domain.job import ArchiveStatus, Evidence, ImageStatus, OnUnconfirmed, Status, WaitingFor
from webhook_app.domain.timeline import WORDS, words

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOON, LATER, EARLIER = (NOW + timedelta(minutes=n) for n in (1, 10, -5))
SENT = Attempt(1, EARLIER, Evidence.RUNNING, provider_job_id="p1", poll_at=SOON)
TRY_AGAIN = JobError(ErrorCode.GENERATION_FAILED, "It could not.", True, "Failed, Try Again")
QUEUED = {"status": Status.QUEUED, "waiting_for": WaitingFor.PROVIDER_SLOT, "due_at": EARLIER}
RETRY = QUEUED | {"waiting_for": WaitingFor.RETRY_AT, "due_at": SOON, "spent": 1}
WITH_PROVIDER = {"status": Status.PROCESSING, "waiting_for": WaitingFor.CALLBACK, "deadline_at": LATER, "spent": 1}
UNCONFIRMED = {
    "status": Status.SUBMITTING,
    "waiting_for": WaitingFor.CONFIRMATION,
    "attempt": Attempt(1, EARLIER, note="connection reset"),
    "spent": 1,
}
SUCCEEDED = {"status": Status.SUCCEEDED, "attempt": SENT}
ARCHIVING = SUCCEEDED | {"waiting_for": WaitingFor.ARCHIVE, "archive_status": ArchiveStatus.PENDING}
WAITS = Picture(0, fetch_at=SOON, expires_at=LATER)
COPIED = Picture(1, ImageStatus.ARCHIVED)
LOST = Picture(0, ImageStatus.LOST, "http_404")
NO_RESULT = JobError(ErrorCode.NO_RESULT, "The provider did not finish in time.", True)
INVALID = JobError(ErrorCode.INVALID_INPUT, "The provider refused the request.", False, "prompt is bad")


def confirmed_by(rule: OnUnconfirmed, **more: Any) -> dict[str, Any]:
    return UNCONFIRMED | {"confirmation": Confirmation(rule=rule, decides_at=SOON, **more)}


# what is known: (a part of the verdict, a part of the next step, when)
TABLE: dict[str, tuple[dict[str, Any], str, str, datetime | None]] = {
    "in the queue": (QUEUED | {"queue_position": 3}, "at place 3", "when its turn comes", None),
    "deep in the queue": (QUEUED, "behind at least 100 others", "when its turn comes", None),
    "overdue": (
        QUEUED | {"queue_position": 1, "timeout_s": 60},
        "never sent, and has waited for longer than its timeout_s of 60 s",
        "when its turn comes",
        None,
    ),
    "provider full": (QUEUED | {"pause": Pause("queue_full", SOON)}, "its queue is full", "tried again", SOON),
    "key refused": (QUEUED | {"pause": Pause("provider_auth", LATER)}, "refuses this server's key", "again", LATER),
    "no credit": (QUEUED | {"pause": Pause("provider_quota", LATER)}, "account with it is used up", "again", LATER),
    "paused by hand": (QUEUED | {"pause": Pause("maintenance", None)}, "paused: maintenance", "somebody resumes", None),
    "paused, not told why": (QUEUED | {"pause": Pause(None, None)}, "modelslab is paused.", "somebody resumes", None),
    "probed": (
        QUEUED | {"pause": Pause("provider_auth", EARLIER, probing=True)},
        "one job at a time tries it again",
        "when its turn comes",
        None,
    ),
    "to be tried again": (
        RETRY | {"attempt": Attempt(1, EARLIER, Evidence.RETRYABLE, TRY_AGAIN)},
        'Attempt 1 failed ("Failed, Try Again"), and may be tried again; 1 of 3 attempts are spent',
        "sent again",
        SOON,
    ),
    "not reached": (
        RETRY | {"attempt": Attempt(1, EARLIER, Evidence.NOT_SENT), "spent": 0},
        "could not be reached; nothing was sent",
        "sent again",
        SOON,
    ),
    "no room": (RETRY | {"attempt": Attempt(1, EARLIER, Evidence.DECLINED), "spent": 0}, "no room", "again", SOON),
    "retry whose time has come": (
        RETRY | {"attempt": Attempt(1, EARLIER, Evidence.RETRYABLE, TRY_AGAIN), "due_at": EARLIER},
        "may be tried again",
        "when its turn comes",
        None,
    ),
    "retry while paused": (
        RETRY | {"attempt": Attempt(1, EARLIER, Evidence.RETRYABLE), "pause": Pause("queue_full", LATER)},
        "paused: its queue is full",
        "tried again",
        LATER,
    ),
    "being sent": (
        {"status": Status.SUBMITTING, "attempt": Attempt(2, NOW)},
        "Attempt 2 is being sent",
        "answers",
        NOW + timedelta(seconds=75),
    ),
    "unconfirmed, on hold": (
        confirmed_by(OnUnconfirmed.HOLD),
        "Nobody knows whether modelslab has attempt 1 (connection reset): evidence is waited for. It is on hold",
        "Somebody decides",
        None,
    ),
    "unconfirmed, to be repeated": (confirmed_by(OnUnconfirmed.REPEAT), "Nobody knows", "the same seed.", SOON),
    "unconfirmed, over the cap": (confirmed_by(OnUnconfirmed.REPEAT, room=False), "Nobody knows", "hour's cap", SOON),
    "unconfirmed, the last attempt": (
        confirmed_by(OnUnconfirmed.REPEAT) | {"spent": 3},
        "Nobody knows",
        "given up",
        SOON,
    ),
    "unconfirmed, to fail": (confirmed_by(OnUnconfirmed.FAIL), "Nobody knows", "given up", SOON),
    "with the provider": (WITH_PROVIDER | {"attempt": SENT}, "took attempt 1 and has not", "it is asked", SOON),
    "asked already": (
        WITH_PROVIDER | {"attempt": Attempt(1, EARLIER, Evidence.RUNNING, provider_job_id="p1", polls=4, poll_at=SOON)},
        "asked 4 times so far",
        "it is asked",
        SOON,
    ),
    "nothing to ask about": (
        WITH_PROVIDER | {"attempt": Attempt(1, EARLIER, Evidence.RUNNING, poll_at=SOON)},
        "gave no id",
        "nobody knows",
        SOON,
    ),
    "at its deadline": (
        WITH_PROVIDER | {"attempt": SENT, "deadline_at": SOON - timedelta(seconds=1)},
        "has not finished",
        "times out",
        SOON - timedelta(seconds=1),
    ),
    "being copied": (
        ARCHIVING | {"pictures": [WAITS, COPIED]},
        "1 of 2 pictures are copied",
        "keeps it until 2026-03-01T12:10:00Z",
        SOON,
    ),
    "copying in trouble": (
        ARCHIVING | {"pictures": [Picture(0, reason="archive_unavailable", fetch_at=SOON)]},
        "The last try of picture 0: archive_unavailable",
        "fetched",
        SOON,
    ),
    "host not allowed": (
        ARCHIVING | {"pictures": [Picture(0, reason="host_not_allowed", fetch_at=SOON), COPIED]},
        "Nobody vouches for the host of picture 0",
        "MODELSLAB_OUTPUT_HOSTS",
        SOON,
    ),
    "archived": (
        SUCCEEDED | {"archive_status": ArchiveStatus.ARCHIVED, "pictures": [COPIED]},
        "It succeeded, and its picture is archived",
        "Nothing is left",
        None,
    ),
    "fewer than asked": (
        SUCCEEDED
        | {
            "archive_status": ArchiveStatus.ARCHIVED,
            "pictures": [COPIED, Picture(2, ImageStatus.LOST, "not_delivered")],
        },
        "delivered 1 fewer than asked",
        "Nothing is left",
        None,
    ),
    "partly lost": (
        SUCCEEDED | {"archive_status": ArchiveStatus.PARTIAL, "pictures": [LOST, COPIED]},
        "1 of 2 pictures are lost: picture 0 (http_404)",
        "same seed",
        None,
    ),
    "lost": (
        SUCCEEDED | {"archive_status": ArchiveStatus.LOST, "pictures": [LOST]},
        "1 of 1 pictures are lost",
        "made anew",
        None,
    ),
    "late success": (
        SUCCEEDED
        | {
            "previous_status": Status.TIMED_OUT,
            "archive_status": ArchiveStatus.ARCHIVED,
            "pictures": [COPIED],
        },
        "It had timed out, and succeeded late",
        "Nothing is left",
        None,
    ),
    "failed": (
        {"status": Status.FAILED, "error": TRY_AGAIN},
        'It failed (generation_failed): It could not ("Failed, Try Again").',
        "rerun",
        None,
    ),
    "refused": ({"status": Status.FAILED, "error": INVALID}, "invalid_input", "another input", None),
    "failed, still asked": (
        {"status": Status.FAILED, "error": TRY_AGAIN, "asked_again_at": LATER},
        "It failed",
        "a late success still counts",
        LATER,
    ),
    "timed out, still asked": (
        {"status": Status.TIMED_OUT, "error": NO_RESULT, "asked_again_at": LATER},
        "did not finish within its timeout_s of 900 s",
        "asked once more",
        LATER,
    ),
    "timed out for good": ({"status": Status.TIMED_OUT, "error": NO_RESULT}, "It timed out", "rerun", None),
    "canceled unsent": ({"status": Status.CANCELED}, "before it was sent", "Nothing is left", None),
    "canceled sent": ({"status": Status.CANCELED, "attempt": SENT}, "may be charged", "kept on record", None),
}


@pytest.mark.parametrize("name", TABLE)
def test_a_standing_is_explained(name: str) -> None:
    known, verdict, step, at = TABLE[name]
    found = explain(Case(**({"created_at": EARLIER, "now": NOW} | known)))
    assert verdict in found.verdict
    assert step in found.next_step
    assert found.next_at == at
    assert "{" not in found.verdict + found.next_step


def test_the_table_holds_every_status_and_every_awaited_thing() -> None:
    assert {known["status"] for known, *_ in TABLE.values()} == set(Status)
    # Paused is said by the pause itself.
    assert {known.get("waiting_for") for known, *_ in TABLE.values()} == {None, *WaitingFor} - {
        WaitingFor.PROVIDER_PAUSED
    }


@given(
    status=st.sampled_from(Status),
    waiting_for=st.sampled_from([None, *WaitingFor]),
    archive_status=st.sampled_from(ArchiveStatus),
    error=st.sampled_from([None, TRY_AGAIN, INVALID]),
    attempt=st.sampled_from([None, SENT, Attempt(1, EARLIER)]),
    pause=st.sampled_from([None, Pause(None, None), Pause("queue_full", SOON)]),
    pictures=st.lists(st.sampled_from([WAITS, COPIED, LOST]), max_size=3),
    due_at=st.sampled_from([None, EARLIER, SOON]),
)
def test_whatever_is_known_there_are_words(**known: Any) -> None:
    found = explain(Case(created_at=EARLIER, now=NOW, **known))
    assert found.verdict.endswith(".")
    assert found.next_step.endswith(".")


def test_every_event_of_a_job_has_words_even_with_nothing_in_it() -> None:
    without = {kind for kind in EventType if kind not in WORDS}
    assert without == {
        EventType.JOB_ERASED,  # Nobody reads such a job any more.
        EventType.PROVIDER_PAUSED,
        EventType.PROVIDER_RESUMED,
        EventType.BATCH_COMPLETED,
        EventType.ENDPOINT_DISABLED,
    }
    for kind in EventType:
        assert words(kind, {})
    assert words("job.succeeded", {"attempt": 2, "witness": "poll", "images": 1, "previous_status": "timed_out"}) == (
        "succeeded with 1 pictures: attempt 2, told when it was asked, after it had timed out"
    )
