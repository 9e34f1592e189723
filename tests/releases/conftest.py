"""The last release, and servers on which it and this one run together."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.databases import DatabaseServer
from tests.kit.servers import RedisServer
from tests.kit.service import ROOT
from tests.releases.checkout import check_out
from tests.releases.processes import Installation


@pytest.fixture(scope="session")
def last_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last release's code, unchanged."""
    return check_out(tmp_path_factory.mktemp("last") / "release")


@pytest.fixture
def installation(
    last_release: Path, database_server: DatabaseServer, redis_server: RedisServer, tmp_path: Path
) -> Iterator[Installation]:
    """The last release's tables and its user, and no process yet."""
    with Installation(tmp_path, database_server, redis_server, last_release, ROOT) as installation:
        installation.commands(last_release).must("schema", "migrate")
        installation.create_user(last_release)
        yield installation
