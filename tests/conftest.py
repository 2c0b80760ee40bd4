"""Fixtures of every room: a real, migrated database on SQLite and on PostgreSQL, and free ports."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests import buckets, databases
from tests.lending import Lender
from webhook_app.store import engine, migrations
from webhook_app.store.engine import Store

# Hundreds of processes are started here: without it each would compile our modules anew, as none does in production.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
KINDS = ("sqlite", "postgresql")


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: many tests wait for processes of their own, or for a lease to end."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(scope="session", autouse=True)
def patience() -> None:
    """Two cores that a storm of processes shares may take seconds to open a connection; no test is about that time."""
    engine.CONNECT_TIMEOUT_S = 30


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[str]:
    """The URL of a PostgreSQL server that makes databases; shared by the workers of a run."""
    own = tmp_path_factory.getbasetemp()
    with databases.server(own if worker_id == "master" else own.parent) as url:
        yield url


@pytest.fixture(scope="session")
def postgresql_template(postgresql_server: str) -> Iterator[str]:
    """The name of a migrated database to copy."""
    with databases.postgresql_database(postgresql_server) as url:
        migrations.upgrade(url)
        yield str(make_url(url).database)


@pytest.fixture(scope="session")
def postgresql_lender(postgresql_server: str, postgresql_template: str) -> Iterator[Lender]:
    """Copies of that, one test after the other."""
    lender = Lender(postgresql_server, postgresql_template)
    yield lender
    lender.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file to copy."""
    path = tmp_path_factory.mktemp("template") / "database.db"
    migrations.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated database of this test's own."""
    if request.param == "sqlite":
        path = tmp_path / "database.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    lender: Lender = request.getfixturevalue("postgresql_lender")
    with lender.database() as url:
        yield url


@pytest.fixture(params=KINDS)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without a schema; on SQLite a file that is not there yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    with databases.postgresql_database(request.getfixturevalue("postgresql_server")) as url:
        yield url


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """The database, as the flows see it."""
    made = Store(database_url)
    yield made
    made.dispose()


@pytest.fixture
def free_port() -> int:
    """A port nobody listens on just now."""
    return databases.free_port()


@pytest.fixture(scope="session")
def s3_service(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[buckets.Service]:
    """A real S3 service; shared by the workers of a run, and started by the first test that asks."""
    own = tmp_path_factory.getbasetemp()
    with buckets.shared_service(own if worker_id == "master" else own.parent) as service:
        yield service


@pytest.fixture
def s3(s3_service: buckets.Service, monkeypatch: pytest.MonkeyPatch) -> buckets.Service:
    """The service, and an environment that holds its owner's keys and nothing else of AWS."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in buckets.KEYS.items():
        monkeypatch.setenv(name, value)
    return s3_service
