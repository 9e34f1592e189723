"""The services that tests share, and how a test gets one of its own."""

from collections.abc import Iterator

import pytest

from tests.kit.databases import DatabaseServer, MariaDBServer, MySQLServer
from tests.kit.servers import RedisServer
from tests.kit.service import Service

# `make test` has integration tests on MariaDB, and leaves these out, which take long.
ON_MARIADB = pytest.param(MariaDBServer.name, marks=pytest.mark.extended)
BACKENDS = ("embedded", "on_mysql", pytest.param("on_mariadb", marks=pytest.mark.extended))


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service on its embedded queue and SQLite."""
    with Service(tmp_path_factory.mktemp("embedded")) as service:
        yield service


@pytest.fixture(scope="session")
def on_mysql(
    tmp_path_factory: pytest.TempPathFactory, redis_with_mysql: RedisServer, mysql_server: MySQLServer
) -> Iterator[Service]:
    """The service on Redis and MySQL."""
    with on(mysql_server, redis_with_mysql, tmp_path_factory) as service:
        yield service


@pytest.fixture(scope="session")
def on_mariadb(
    tmp_path_factory: pytest.TempPathFactory, redis_with_mariadb: RedisServer, mariadb_server: MariaDBServer
) -> Iterator[Service]:
    """The service on Redis and MariaDB."""
    with on(mariadb_server, redis_with_mariadb, tmp_path_factory) as service:
        yield service


def on(database: DatabaseServer, queue: RedisServer, directories: pytest.TempPathFactory) -> Service:
    """Return the service on these servers, not started."""
    url = database.create_database()
    return Service(directories.mktemp(database.name), redis_url=queue.url, database_url=url, claim_after=2)


@pytest.fixture(scope="session", params=[MySQLServer.name, ON_MARIADB])
def database_server(request: pytest.FixtureRequest) -> DatabaseServer:
    """Each database server in turn."""
    found: DatabaseServer = request.getfixturevalue(f"{request.param}_server")
    return found


@pytest.fixture(scope="session")
def production(request: pytest.FixtureRequest, database_server: DatabaseServer) -> Service:
    """The service on servers, once on each database."""
    found: Service = request.getfixturevalue(f"on_{database_server.name}")
    return found


@pytest.fixture(
    scope="session", params=["embedded", "on_mysql", pytest.param("on_mariadb", marks=pytest.mark.extended)]
)
def service(request: pytest.FixtureRequest) -> Service:
    """The service, once on each backend."""
    found: Service = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that allows little: 20 requests a minute, 100 leads waiting, a second for a body.

    Loopback's first address is a trusted proxy, its other ones are clients like any other.
    """
    directory = tmp_path_factory.mktemp("strict")
    limits = {"rate_limit": 20, "queue_max": 100, "http_body_timeout": 1}
    with Service(directory, http_workers=3, trusted_proxies="127.0.0.1/32", **limits) as service:
        yield service
