"""Many rows with one statement: the same effect on both databases, whatever the rows hold."""

from typing import Any

import pytest
from sqlalchemy import select

from tests.store import rows
from webhook_app.domain.events import Event, EventType
from webhook_app.domain.ids import new_track_id
from webhook_app.store import callbacks, changes, events, jobs
from webhook_app.store.engine import Store
from webhook_app.store.tables import Callback, EventRow, Job, Slot

ODD = "\u202e 'quoted' \"twice\" \\ 日本 🙂"


def row_of(store: Store, track_id: str) -> dict[str, Any]:
    with store.reading() as connection:
        return dict(connection.execute(select(Job.__table__).where(Job.track_id == track_id)).one()._mapping)


def test_each_job_gets_values_of_its_own(store: Store) -> None:
    ids = sorted(rows.make_job(store) for _ in range(3))
    with store.writing() as connection:
        locked = jobs.lock(connection, ids)
        assert list(locked) == ids
        changed = [dict(locked[track_id]._mapping) for track_id in ids[:2]]
        changed[0] |= {"status": "failed", "completed_at": rows.NOW, "due_at": None, "error": {"code": ODD}}
        changed[1] |= {"provider_status": ODD, "seed": 2**62, "flags": ["nsfw"], "generation_time_s": 1.5}
        assert jobs.save(connection, changed)
    first, second, third = (row_of(store, track_id) for track_id in ids)
    assert (first["status"], first["completed_at"], first["due_at"], first["error"]) == (
        "failed",
        rows.NOW,
        None,
        {"code": ODD},
    )
    assert (second["provider_status"], second["seed"], second["flags"], second["error"]) == (ODD, 2**62, ["nsfw"], None)
    assert [row["version"] for row in (first, second, third)] == [2, 2, 1]


def test_a_job_that_moved_meanwhile_is_not_overwritten(store: Store) -> None:
    track_id = rows.make_job(store)
    stale = row_of(store, track_id)
    for expected in (True, False):
        with store.writing() as connection:
            assert jobs.save(connection, [stale | {"priority": 0, "waiting_for": "archive"}]) is expected


def test_changes_of_all_tables_are_written_together(store: Store) -> None:
    track_id = rows.make_job(store)
    with store.writing() as connection:
        rows.add(connection, Slot, {"provider": "modelslab", "n": 0, "track_id": track_id, "free_at": rows.NOW})
        found = changes.lock(connection, [track_id], with_images=True)
        job = found.jobs[track_id] | {"waiting_for": "archive"}
        attempt = found.attempts[track_id, 1] | {"note": ODD}
        image = found.images[track_id][0] | {"sources": [ODD]}
        told = [Event(kind, "worker", rows.NOW, track_id) for kind in (EventType.JOB_QUEUED, EventType.JOB_SUBMITTED)]
        parts: dict[str, Any] = {"changed_jobs": [job], "changed_attempts": [attempt], "changed_images": [image]}
        assert changes.write(connection, **parts, released=[track_id], told=told)
        assert not changes.write(connection, **parts, released=[], told=[])  # The job's version is another by now.
    with store.reading() as connection:
        assert connection.scalar(select(Slot.track_id)) is None
        assert connection.scalars(select(EventRow.type).order_by(EventRow.position)).all() == [e.type for e in told]
        found = changes.lock(connection, [track_id], with_images=True)
        assert found.attempts[track_id, 1]["note"] == ODD
        assert found.images[track_id][0]["sources"] == [ODD]
    assert row_of(store, track_id)["waiting_for"] == "archive"


def test_nothing_to_write_is_no_error(store: Store) -> None:
    with store.writing() as connection:
        nothing: dict[str, Any] = {"changed_jobs": [], "changed_attempts": [], "changed_images": []}
        assert changes.write(connection, **nothing, released=[], told=[])
        events.append(connection, [])
        assert jobs.lock(connection, []) == {}


@pytest.mark.parametrize("body", [b"", bytes(range(256)), "\x00 日本".encode(), b"{}"])
def test_a_callback_is_kept_to_the_byte_and_a_double_counted(store: Store, body: bytes) -> None:
    track_id = new_track_id()
    names = ("content_type", "remote_addr", "verdict", "problem", "applied_at", "retry_at", "names_track_id")
    unknown = dict.fromkeys(names)
    raw = rows.callback(track_id, body=body, **unknown)
    key = {"track_id": track_id, "attempt": 1, "sha256": rows.SHA256}
    with store.writing() as connection:
        for _ in range(2):  # Until somebody applies it, it is news.
            assert callbacks.keep(connection, [raw | {"times_seen": 1}]) == {(track_id, 1, rows.SHA256)}
        callbacks.SETTLE.execute(connection, [key | unknown | {"verdict": "orphaned", "applied_at": rows.NOW}])
        assert callbacks.keep(connection, [raw | {"times_seen": 1}, raw | {"times_seen": 1}]) == set()
    with store.reading() as connection:
        kept = connection.execute(select(Callback.body, Callback.times_seen)).one()
    assert (bytes(kept.body), kept.times_seen) == (body, 4)
