"""The migration that notes whom the bodies of ignored callbacks name: what was kept before it is found as well."""

from sqlalchemy import select

from tests.store import rows
from webhook_app.domain.ids import new_track_id
from webhook_app.store import migrations
from webhook_app.store.engine import Store
from webhook_app.store.tables import Callback

BEFORE, AFTER = "0009", "0010"


def test_what_was_ignored_before_is_known_by_the_job_that_it_names(empty_database_url: str) -> None:
    mine, other = new_track_id(), new_track_id()
    bodies = {
        "mismatched": b'{"status": "success", "track_id" : "%b"}' % other.upper().encode(),
        "unreadable": b'{"meta": {"track_id":"%b"}}' % other.encode(),
        "applied": b'{"track_id": "%b"}' % other.encode(),
        "canceled": b"",
    }
    migrations.upgrade(empty_database_url, BEFORE)
    store = Store(empty_database_url)
    with store.writing() as connection:
        for verdict, body in bodies.items():
            row = rows.callback(mine, sha256=verdict.ljust(64, "0"), verdict=verdict, body=body, times_seen=1)
            connection.execute(Callback.__table__.insert().values(**row))
    migrations.upgrade(empty_database_url, AFTER)
    with store.reading() as connection:
        found = connection.execute(select(Callback.verdict, Callback.names_track_id)).all()
        named = {row.verdict: row.names_track_id for row in found}
    assert named == {"mismatched": other, "unreadable": other, "applied": None, "canceled": None}
    store.dispose()
