"""The callback's door: the token decides, and 200 means on record."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from sqlalchemy import func, select

from tests.web.doors import KNOWN_HOST, Doors, drip
from webhook_app.domain.ids import new_track_id
from webhook_app.flows import spool
from webhook_app.flows.receive import apply_stored
from webhook_app.storage.port import Drained
from webhook_app.store.engine import Store
from webhook_app.store.tables import Callback, EventRow, Job
from webhook_app.wiring import policy

MIB = 1 << 20


@pytest.fixture
def doors(store: Store, tmp_path: Path) -> Iterator[Doors]:
    doors = Doors(store, tmp_path)
    yield doors
    assert doors.app.extensions["batcher"].finish(30)


def rows(doors: Doors) -> list[Callback]:
    with doors.store.reading() as connection:
        return list(connection.execute(select(Callback.__table__).order_by(Callback.received_at)))


def test_a_good_callback_ends_its_job_and_is_on_record(doors: Doors) -> None:
    track_id = doors.sent_job()
    body = orjson.dumps({"pictures": [f"{KNOWN_HOST}/0.png"]})
    answer = doors.http.post(doors.callback_path(track_id), data=body, content_type="application/json")
    assert answer.status_code == 200
    assert answer.json == {"status": "ok"}
    (row,) = rows(doors)
    assert (row.track_id, row.attempt, row.body, row.applied_at is not None) == (track_id, 1, body, True)
    with doors.store.reading() as connection:
        assert connection.scalar(select(Job.status).where(Job.track_id == track_id)) == "succeeded"


def test_the_same_callback_again_is_200_and_counted(doors: Doors) -> None:
    track_id, _ = doors.job()
    for _ in range(3):
        assert (
            doors.http.post(doors.callback_path(track_id), data=b'{"pictures": ["https://x.example/1"]}').status_code
            == 200
        )
    (row,) = rows(doors)
    assert row.times_seen == 3


@pytest.mark.parametrize("body", [b"", b"not JSON", b"\xff\x00\xfe", b"{}" * 1000, b'{"pictures": []}'])
def test_whatever_comes_with_a_good_token_is_kept(doors: Doors, body: bytes) -> None:
    track_id, _ = doors.job()
    assert doors.http.post(doors.callback_path(track_id), data=body).status_code == 200
    assert rows(doors)[0].body == body


def test_a_job_that_nobody_knows_is_kept_as_an_orphan(doors: Doors) -> None:
    answer = doors.http.post(doors.callback_path(new_track_id()), data=b'{"pictures": ["https://x.example/1"]}')
    assert answer.status_code == 200
    assert rows(doors)[0].verdict == "orphaned"


def test_every_bad_address_is_the_same_404_and_leaves_nothing(doors: Doors) -> None:
    track_id, _ = doors.job()
    good = doors.parts.tokens.callback("modelslab", track_id, 1)
    upper = doors.parts.tokens.callback("modelslab", track_id.upper(), 1)
    elsewhere = doors.parts.tokens.callback("nobody", track_id, 1)
    other = doors.parts.tokens.callback("modelslab", new_track_id(), 1)
    addresses = [
        f"modelslab/{track_id}/{good}x",
        f"modelslab/{track_id}/{good[:-1]}",
        f"modelslab/{track_id}/2{good[1:]}",
        f"modelslab/{track_id}/0{good}",
        f"modelslab/{track_id}/{other}",
        f"modelslab/{track_id}/x",
        f"modelslab/{track_id}/%F0%9F%92%A9",
        f"modelslab/{track_id.upper()}/{upper}",
        f"nobody/{track_id}/{elsewhere}",
        f"nobody/{track_id}/{good}",
        "modelslab/x/y",
    ]
    answers = [doors.http.post(f"/callbacks/{address}", data=b"{}") for address in addresses]
    shown = {(a.status_code, a.json["code"], a.json["detail"], tuple(sorted(a.headers.keys()))) for a in answers}
    assert len(shown) == 1
    assert shown.pop()[:2] == (404, "not_found")
    assert rows(doors) == []


def test_a_bad_token_is_refused_before_its_body_is_looked_at(doors: Doors) -> None:
    answer = doors.http.post(f"/callbacks/modelslab/{new_track_id()}/1.bad", data=b"x" * 2 * MIB)
    assert answer.status_code == 404


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_405(doors: Doors, method: str) -> None:
    track_id, _ = doors.job()
    answer = doors.http.open(doors.callback_path(track_id), method=method)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "POST"


@pytest.mark.parametrize(("size", "status"), [(MIB, 200), (MIB + 1, 413), (3 * MIB, 413)])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_may_have_one_mebibyte(doors: Doors, size: int, status: int, chunked: bool) -> None:
    track_id, _ = doors.job()
    body = b"x" * size
    if chunked:
        environment = {"wsgi.input": drip(body), "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
        answer = doors.http.post(doors.callback_path(track_id), environ_overrides=environment)
    else:
        answer = doors.http.post(doors.callback_path(track_id), data=body)
    assert answer.status_code == status
    assert [len(row.body or b"") for row in rows(doors)] == ([size] if status == 200 else [])


def test_only_chosen_headers_are_kept(doors: Doors) -> None:
    track_id, _ = doors.job()
    headers = {"Authorization": "Bearer secret", "Cookie": "secret", "User-Agent": "studio/1", "X-Other": "secret"}
    doors.http.post(doors.callback_path(track_id), data=b"{}", content_type="application/json", headers=headers)
    assert rows(doors)[0].headers == {
        "content-type": "application/json",
        "content-length": "2",
        "user-agent": "studio/1",
    }


def test_the_token_shows_in_no_answer(doors: Doors) -> None:
    track_id, _ = doors.job()
    path = doors.callback_path(track_id)
    for answer in (doors.http.get(path), doors.http.post(path, data=b"x" * 2 * MIB)):
        assert re.sub(r".*/", "", path) not in answer.get_data(as_text=True)


def test_many_at_once_are_all_on_record_and_every_job_moved_once(doors: Doors) -> None:
    jobs = [doors.sent_job() for _ in range(60)]

    def report(track_id: str) -> int:
        body = orjson.dumps({"pictures": [f"{KNOWN_HOST}/{track_id}.png"]})
        return doors.app.test_client().post(doors.callback_path(track_id), data=body).status_code

    with ThreadPoolExecutor(30) as pool:
        assert set(pool.map(report, jobs + jobs)) == {200}
    assert sorted((row.track_id, row.times_seen) for row in rows(doors)) == sorted((job, 2) for job in jobs)
    with doors.store.reading() as connection:
        succeeded = connection.scalar(select(func.count()).select_from(Job).where(Job.status == "succeeded"))
        events = select(func.count()).select_from(EventRow).where(EventRow.type == "job.succeeded")
        assert (succeeded, connection.scalar(events)) == (60, 60)


def test_while_the_database_is_away_callbacks_are_spooled_and_brought_back(doors: Doors, tmp_path: Path) -> None:
    away = Doors(Store(f"sqlite:///{tmp_path}/no-such-directory/nothing.db"), tmp_path / "away")
    sent = [doors.sent_job() for _ in range(3)]
    bodies = {track_id: b'{"pictures": ["https://pictures.example/%s"]}' % track_id.encode() for track_id in sent}
    for track_id in sent:
        assert away.http.post(away.callback_path(track_id), data=bodies[track_id]).status_code == 200
    assert away.http.post(f"/callbacks/modelslab/{sent[0]}/1.{'A' * 22}", data=b"{}").status_code == 404
    probe = away.http.get("/readyz").json
    assert probe is not None
    assert probe["spool"] == {"entries": 3, "writable": True}
    assert away.http.get("/v1/jobs", headers={"Authorization": "Bearer key"}).status_code == 503

    assert spool.drain(doors.store, away.parts.spool) == Drained(3, 0)
    assert {row.track_id: bytes(row.body) for row in rows(doors)} == bodies
    assert away.parts.spool.entries() == 0
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert apply_stored(doors.store, doors.parts.providers, limit=5, policy=policy(doors.parts), now=later) == 3
    with doors.store.reading() as connection:
        assert set(connection.scalars(select(Job.status))) == {"succeeded"}


def test_when_neither_database_nor_spool_can_keep_it_the_answer_is_503(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    store = Store(f"sqlite:///{tmp_path}/no-such-directory/nothing.db")
    away = Doors(store, tmp_path / "away", {"SPOOL_DIR": str(tmp_path / "file" / "spool")})
    answer = away.http.post(away.callback_path(new_track_id()), data=b"{}")
    assert answer.status_code == 503
    assert answer.json is not None
    assert answer.json["code"] == "database_unavailable"
    assert int(answer.headers["Retry-After"]) > 0
