"""Probes: alive is not ready, and the nonce proves where the public address leads."""

from pathlib import Path

import pytest
from sqlalchemy import text

from tests.web.doors import Doors
from webhook_app import __version__
from webhook_app.flows.seal import seal
from webhook_app.store import reads
from webhook_app.store.engine import Store
from webhook_app.web.waiting import waiting_of


@pytest.fixture
def doors(store: Store, tmp_path: Path) -> Doors:
    return Doors(store, tmp_path)


@pytest.fixture
def away(tmp_path: Path) -> Doors:
    """Doors whose database cannot be reached."""
    return Doors(Store(f"sqlite:///{tmp_path}/no-such-directory/nothing.db"), tmp_path)


def test_a_process_is_healthy_without_its_database(away: Doors) -> None:
    answer = away.http.get("/healthz")
    assert (answer.status_code, answer.json) == (200, {"status": "ok"})


def test_without_its_database_it_is_degraded_while_it_can_spool(away: Doors) -> None:
    answer = away.http.get("/readyz")
    assert answer.status_code == 200
    assert answer.json is not None
    assert (answer.json["status"], answer.json["database"]) == ("degraded", "down")


def test_it_is_not_ready_when_neither_database_nor_spool_can_keep_a_callback(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    store = Store(f"sqlite:///{tmp_path}/no-such-directory/nothing.db")
    stuck = Doors(store, tmp_path, {"SPOOL_DIR": str(tmp_path / "file" / "spool")})
    answer = stuck.http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json is not None
    assert (answer.json["status"], answer.json["spool"]) == ("unavailable", {"entries": 0, "writable": False})


def test_a_database_behind_the_code_is_named(tmp_path: Path) -> None:
    empty = Doors(Store(f"sqlite:///{tmp_path}/empty.db"), tmp_path)
    answer = empty.http.get("/readyz")
    assert answer.status_code == 200
    assert answer.json is not None
    assert (answer.json["status"], answer.json["database"]) == ("degraded", "behind")
    assert answer.json["sealer_lag_s"] is None


def test_the_lag_of_the_sealer_is_the_age_of_what_it_has_not_sealed(doors: Doors) -> None:
    doors.job()
    lag_s = doors.http.get("/readyz").json["sealer_lag_s"]  # type: ignore[index]
    assert 0 < lag_s < 60
    assert seal(doors.store) == 1
    assert doors.http.get("/readyz").json["sealer_lag_s"] == 0  # type: ignore[index]


def test_it_is_ready_when_its_database_is(doors: Doors) -> None:
    with doors.store.writing() as connection:
        if reads.database_revision(connection) is None:
            connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
            connection.execute(text("INSERT INTO alembic_version VALUES ('0001')"))
    answer = doors.http.get("/readyz")
    assert answer.status_code == 200
    ready = {"status": "ready", "database": "ok", "spool": {"entries": 0, "writable": True}, "version": __version__}
    assert answer.json == ready | {"sealer_lag_s": 0.0}


def test_a_process_that_ends_is_not_ready_and_stays_healthy(doors: Doors) -> None:
    waiting_of(doors.app, doors.parts).drain()
    answer = doors.http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json is not None
    assert answer.json["status"] == "draining"
    assert doors.http.get("/healthz").status_code == 200


def test_a_nonce_comes_back_signed(doors: Doors) -> None:
    answer = doors.http.get("/.well-known/webhook-app/nonce?nonce=Abc-_9")
    assert answer.json is not None
    assert answer.json["nonce"] == "Abc-_9"
    assert doors.parts.tokens.check("doctor", "Abc-_9", answer.json["signature"])


@pytest.mark.parametrize("nonce", ["", "a" * 65, "a b", "a\n", "ü", "a/b"])
def test_only_plain_nonces_are_signed(doors: Doors, nonce: str) -> None:
    answer = doors.http.get("/.well-known/webhook-app/nonce", query_string={"nonce": nonce})
    assert answer.status_code == 422
