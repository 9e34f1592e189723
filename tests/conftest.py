"""What all tests share: the environment holds no settings of ours, and there is one server of each kind."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.kit.databases import DATABASES, DatabaseServer, MariaDBServer, MySQLServer
from tests.kit.servers import RedisServer

# No deadline for an example: a busy machine may take any time over one. In CI they are the same in each run.
settings.register_profile("tests", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("tests")

# How many others take as long as a slow test.
SLOW_WEIGHT = 50

# The services that system tests share (tests/system/conftest.py).
SHARED_SERVICES = ("embedded", *(f"on_{name}" for name in DATABASES))

# Settings of the developer's shell would change what is tested.
for name in [name for name in os.environ if name.startswith("LEADS_")]:
    del os.environ[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as fast what takes a moment and no server but the embedded queue: `-m fast` runs it.

    Tests on one of the services that a run shares are one group, so that each is started once (pytest-xdist's
    loadgroup); any other file is a group. What takes longest comes first, so that no process is left alone with it.
    """
    weights: Counter[Path] = Counter()
    for item in items:
        weights[item.path] += 1 if item.get_closest_marker("slow") is None else SLOW_WEIGHT
        place = item.path.parent.name
        backend = getattr(item, "callspec", None) and item.callspec.params.get("backend")
        if (place == "unit" or backend == "embedded") and item.get_closest_marker("slow") is None:
            item.add_marker("fast")
        item.add_marker(pytest.mark.xdist_group(_shared_service(item) or item.path.stem))
    items.sort(key=lambda item: (_shared_service(item) or "~", -weights[item.path]))


def _shared_service(item: pytest.Item) -> str | None:
    """Return the name of the shared service that a system test uses, or None."""
    if item.path.parent.name != "system" or item.get_closest_marker("destructive") is not None:
        return None
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    if "database_server" in parameters:
        return f"on_{parameters['database_server']}"
    if "service" in parameters:
        return str(parameters["service"])
    return next((name for name in SHARED_SERVICES if name in getattr(item, "fixturenames", ())), None)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LEADS_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def redis_with_mysql() -> Iterator[RedisServer]:
    """The newest Redis there is: beside MySQL, which is new too."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def redis_with_mariadb() -> Iterator[RedisServer]:
    """The system's Redis, which on Debian 12 is the oldest that we support."""
    with RedisServer(newest=False) as server:
        yield server


@pytest.fixture(scope="session")
def mysql_server() -> Iterator[MySQLServer]:
    """A MySQL with any number of databases."""
    with MySQLServer() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDBServer]:
    """A MariaDB with any number of databases."""
    with MariaDBServer() as server:
        yield server


@pytest.fixture(scope="session", params=list(DATABASES))
def database_server(request: pytest.FixtureRequest) -> DatabaseServer:
    """Each database server in turn."""
    found: DatabaseServer = request.getfixturevalue(f"{request.param}_server")
    return found


@pytest.fixture(scope="session")
def redis_server(request: pytest.FixtureRequest, database_server: DatabaseServer) -> RedisServer:
    """The Redis that is used with `database_server`."""
    found: RedisServer = request.getfixturevalue(f"redis_with_{database_server.name}")
    return found
