"""The servers, one of each for the session, and an empty backend for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from schema import lead_id
from schema.database import migrate
from schema.settings import Settings
from tests.integration.backends import Backend, writer
from tests.servers import MariaDBServer, ValkeyServer


@pytest.fixture(autouse=True)
def _ids_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    # Ids never go back: those of a test that travelled in time would be followed by the next test's.
    monkeypatch.setattr(lead_id, "_last_micros", 0)


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_mariadb(mariadb_server: MariaDBServer) -> str:
    url = mariadb_server.create_database()
    migrate(url)
    return url


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "leads.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["embedded", "production"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """An empty queue and an empty, migrated database."""
    if request.param == "embedded":
        queue, mariadb = request.getfixturevalue("valkey_server"), None
        path = tmp_path / "leads.db"
        shutil.copyfile(request.getfixturevalue("migrated_sqlite"), path)
        url = f"sqlite:///{path}"
    else:
        queue, mariadb = request.getfixturevalue("redis_server"), request.getfixturevalue("mariadb_server")
        url = request.getfixturevalue("migrated_mariadb")
    settings = Settings(
        data_dir=tmp_path,
        redis_url=queue.url,
        # Longer than its default: a shared disk may take seconds over one fsync.
        redis_timeout=10.0,
        database_url=url,
        database_timeout=5,
        rate_limit=0,
        claim_after=0.2,
    )
    engine = writer(settings, pool_size=4)
    client = queue.client()
    backend = Backend(request.param, settings, queue, mariadb, client, engine)
    backend.empty()
    yield backend
    engine.dispose()
    client.close()
