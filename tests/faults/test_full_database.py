"""A database whose disk is full (F10): SQLite itself refuses to grow, callbacks are kept beside it, and all is as it
should be once there is room."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, select

from tests.web.doors import KNOWN_HOST, Doors
from webhook_app.flows import spool
from webhook_app.flows.receive import apply_stored
from webhook_app.store.engine import Store
from webhook_app.store.tables import Callback, Job
from webhook_app.wiring import policy

LARGE = b" " * 40_000


class Disk:
    """Gives a SQLite database no more pages than it has, on every connection, while it is full."""

    def __init__(self, store: Store) -> None:
        self.full = False
        event.listen(store.engine, "checkout", self.limit)

    def limit(self, raw: object, *_more: object) -> None:
        pages = raw.execute("PRAGMA page_count").fetchone()[0] if self.full else 1_000_000  # type: ignore[attr-defined]
        raw.execute(f"PRAGMA max_page_count = {pages}")  # type: ignore[attr-defined]


@pytest.fixture
def doors(sqlite_template: Path, tmp_path: Path) -> Iterator[Doors]:
    path = tmp_path / "database.db"
    path.write_bytes(sqlite_template.read_bytes())
    made = Doors(Store(f"sqlite:///{path}"), tmp_path)
    yield made
    assert made.app.extensions["batcher"].finish(30)
    made.store.dispose()


def test_what_a_full_database_cannot_take_is_kept_and_applied_when_there_is_room(doors: Doors) -> None:
    disk = Disk(doors.store)
    sent = [doors.sent_job() for _ in range(3)]
    body = b'{"pictures": ["%s/a.png"]}' % KNOWN_HOST.encode() + LARGE
    disk.full = True
    answers = [doors.http.post(doors.callback_path(track_id), data=body).status_code for track_id in sent]
    assert answers == [200] * 3
    assert doors.parts.spool.entries() == 3
    with doors.store.reading() as connection:
        assert connection.scalars(select(Callback.track_id)).all() == []
        assert set(connection.scalars(select(Job.status))) == {"processing"}

    disk.full = False
    doors.app.extensions["drainer"].stop()
    spool.drain(doors.store, doors.parts.spool)
    assert doors.parts.spool.entries() == 0
    later = datetime.now(UTC) + timedelta(minutes=1)
    apply_stored(doors.store, doors.parts.providers, limit=5, policy=policy(doors.parts), now=later)
    with doors.store.reading() as connection:
        assert sorted(connection.scalars(select(Callback.track_id))) == sorted(sent)
        assert set(connection.scalars(select(Job.status))) == {"succeeded"}


def test_where_the_spool_cannot_keep_it_either_the_answer_is_503_and_the_next_one_counts(
    doors: Doors, tmp_path: Path
) -> None:
    disk = Disk(doors.store)
    (tmp_path / "file").write_text("not a directory")
    bare = Doors(doors.store, tmp_path / "bare", {"SPOOL_DIR": str(tmp_path / "file" / "spool")})
    track_id = doors.sent_job()
    body = b'{"pictures": ["%s/a.png"]}' % KNOWN_HOST.encode() + LARGE
    disk.full = True
    refused = bare.http.post(bare.callback_path(track_id), data=body)
    assert (refused.status_code, refused.json["code"]) == (503, "database_unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    disk.full = False
    assert bare.http.post(bare.callback_path(track_id), data=body).status_code == 200
    assert bare.app.extensions["batcher"].finish(30)
    with doors.store.reading() as connection:
        assert connection.scalar(select(Job.status)) == "succeeded"
