"""What all tests share: the environment holds no settings of ours, and there is one server of each kind."""

import os
from collections.abc import Iterator

import pytest

from tests.servers import MariaDBServer, RedisServer

# Settings of the developer's shell would change what is tested.
for name in [name for name in os.environ if name.startswith("LEADS_")]:
    del os.environ[name]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LEADS_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis for all tests of this process."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDBServer]:
    """A MariaDB with any number of databases."""
    with MariaDBServer() as server:
        yield server
