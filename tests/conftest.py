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

# How many others take as long as a slow test, and as one in a browser.
SLOW_WEIGHT = 50
BROWSER_WEIGHT = 10

# Settings of the developer's shell, OpenTelemetry's too, would change what is tested.
for name in [name for name in os.environ if name.startswith(("LEADS_", "OTEL_"))]:
    del os.environ[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as fast what takes a moment and no server but the embedded queue: `-m fast` runs it.

    The files that take longest come first, so that no process is left alone with one at the end.
    """
    weights: Counter[Path] = Counter()
    for item in items:
        weights[item.path] += _weight(item)
        place = item.path.parent.name
        backend = getattr(item, "callspec", None) and item.callspec.params.get("backend")
        if (place == "unit" or backend == "embedded") and item.get_closest_marker("slow") is None:
            item.add_marker("fast")
    items.sort(key=lambda item: -weights[item.path])


def _weight(item: pytest.Item) -> int:
    if item.get_closest_marker("slow") is not None:
        return SLOW_WEIGHT
    return BROWSER_WEIGHT if "started_page" in getattr(item, "fixturenames", ()) else 1


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
