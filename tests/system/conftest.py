"""The services that tests share, and how a test gets one of its own."""

from collections.abc import Iterator

import pytest

from tests.servers import MariaDBServer, RedisServer

from .service import Service


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service on its embedded queue and SQLite."""
    with Service(tmp_path_factory.mktemp("embedded")) as service:
        yield service


@pytest.fixture(scope="session")
def production(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer, mariadb_server: MariaDBServer
) -> Iterator[Service]:
    """The service on Redis and MariaDB."""
    directory = tmp_path_factory.mktemp("production")
    with Service(
        directory, redis_url=redis_server.url, database_url=mariadb_server.create_database(), claim_after=2
    ) as service:
        yield service


@pytest.fixture(scope="session", params=["embedded", "production"])
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
