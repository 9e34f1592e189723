"""The servers, one of each for the session, and an empty backend for each test."""

import itertools
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from schema.database.migrations.runner import migrate
from schema.lead import lead_id
from schema.lead.lead_id import LeadId
from schema.settings import Settings
from tests.integration.backends import BACKENDS, Backend, backend_at, writer
from tests.integration.pairs import Pair
from tests.integration.persons import anns_leads
from tests.integration.spoken import Listener, names_in, reserved
from tests.kit.databases import DATABASES, DatabaseServer, MariaDBServer, MySQLServer
from tests.kit.group_replication import GroupReplication
from tests.kit.servers import RedisServer, ValkeyServer, until


@pytest.fixture(autouse=True)
def _ids_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    # Ids never go back: those of a test that travelled in time would be followed by the next test's.
    monkeypatch.setattr(lead_id, "_last_micros", 0)


@pytest.fixture(autouse=True)
def listener() -> Iterator[Listener]:
    """Check all that a test says to MySQL and MariaDB."""
    with Listener() as listener:
        yield listener
    assert not listener.deprecated
    for server in {each.name: each for each in DatabaseServer.running}.values():
        # Those that went to a server of this kind: SQLAlchemy quotes what that one reserves.
        new = {each for product, each in listener.statements if product.value == server.title} - _checked[server.name]
        found = reserved(server, set().union(*map(names_in, new))) if new else set()
        assert not found, f"{server.title} reserves these words, and they are not quoted"
        _checked[server.name] |= new


# Statements that were checked in a test before, by the server's kind.
_checked: dict[str, set[str]] = {name: set() for name in DATABASES}


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_mysql(mysql_server: MySQLServer) -> str:
    return migrated(mysql_server)


@pytest.fixture(scope="session")
def migrated_mariadb(mariadb_server: MariaDBServer) -> str:
    return migrated(mariadb_server)


# Servers of a module's own, for tests that kill them: if one does not come back, no other module is harmed.


@pytest.fixture(scope="module")
def own_valkey_server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as server:
        yield server


@pytest.fixture(scope="module")
def own_redis_with_mysql() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def own_redis_with_mariadb() -> Iterator[RedisServer]:
    with RedisServer(newest=False) as server:
        yield server


@pytest.fixture(scope="module")
def own_mysql_server() -> Iterator[MySQLServer]:
    with MySQLServer() as server:
        yield server


@pytest.fixture(scope="module")
def own_mariadb_server() -> Iterator[MariaDBServer]:
    with MariaDBServer() as server:
        yield server


@pytest.fixture(scope="module")
def own_migrated_mysql(own_mysql_server: MySQLServer) -> str:
    return migrated(own_mysql_server)


@pytest.fixture(scope="module")
def own_migrated_mariadb(own_mariadb_server: MariaDBServer) -> str:
    return migrated(own_mariadb_server)


def migrated(server: DatabaseServer) -> str:
    """Return the URL of a new database with all tables."""
    url = server.create_database(tls=False)
    migrate(url)
    return url


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "leads.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """An empty queue and an empty, migrated database; those that a test marked destructive breaks are its module's."""
    queue: RedisServer
    server: DatabaseServer | None
    broken = {each for mark in request.node.iter_markers("destructive") for each in mark.args}
    of_queue, of_database = ("own_" if each in broken else "" for each in ("queue", "database"))
    if request.param == "embedded":
        queue, server = request.getfixturevalue(f"{of_queue}valkey_server"), None
        path = tmp_path / "leads.db"
        shutil.copyfile(request.getfixturevalue("migrated_sqlite"), path)
        url = f"sqlite:///{path}"
    else:
        server = request.getfixturevalue(f"{of_database}{request.param}_server")
        queue = request.getfixturevalue(f"{of_queue}redis_with_{request.param}")
        url = request.getfixturevalue(f"{of_database}migrated_{request.param}")
    settings = Settings(
        data_dir=tmp_path,
        redis_url=queue.url,
        # Longer than its default: a shared disk may take seconds over one fsync.
        redis_timeout=10.0,
        rate_limit_timeout=10.0,
        database_url=url,
        database_timeout=20,
        rate_limit=0,
        claim_after=0.2,
    )
    engine = writer(settings, pool_size=4)
    client = queue.client()
    backend = Backend(request.param, settings, queue, server, client, engine)
    backend.empty()
    yield backend
    engine.dispose()
    client.close()


@pytest.fixture(params=["sqlite", *DATABASES])
def make_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Make databases without tables; return the URL of each."""
    if request.param == "sqlite":
        numbers = itertools.count()
        return lambda: f"sqlite:///{tmp_path / f'{next(numbers)}.db'}"
    server: DatabaseServer = request.getfixturevalue(f"{request.param}_server")
    return partial(server.create_database, tls=False)


@pytest.fixture
def url(make_url: Callable[[], str]) -> str:
    """The URL of a database without tables."""
    return make_url()


@pytest.fixture(params=list(DATABASES))
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    kind: type[DatabaseServer] = DATABASES[request.param]
    with kind(*kind.primary_options) as primary, kind(*kind.replica_options) as follower:
        follower.follow(primary)
        url = primary.create_database()
        name = url.rpartition("/")[2]
        follower.execute(f"GRANT ALL ON {name}.* TO leads@'127.0.0.1'")
        migrate(url)
        made = Pair(primary, follower, url)
        # It may be read before it has all tables.
        until(made.has_revision, 30)
        yield made
        made.close()


@pytest.fixture(scope="module")
def group() -> Iterator[GroupReplication]:
    """A group of MySQL servers behind a Router, of the module's own: its tests kill them."""
    with GroupReplication() as made:
        migrate(made.url)
        yield made


@pytest.fixture
def grouped(group: GroupReplication, own_redis_with_mysql: RedisServer, tmp_path: Path) -> Iterator[Backend]:
    """An empty queue and an empty, migrated database of the group."""
    with backend_at(group.url, own_redis_with_mysql, tmp_path) as backend:
        yield backend


@pytest.fixture
def ann(backend: Backend) -> list[LeadId]:
    """Ids of Ann's leads: stored, dead, waiting; and three others. The queue is not drained."""
    return anns_leads(backend)
