"""The services that tests share, and how a test gets one of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.databases import DATABASES, DatabaseServer, MariaDBServer, MySQLServer
from tests.kit.page import LeadPage, add_admin, go_to, lead_page
from tests.kit.servers import RedisServer, until
from tests.kit.service import EMAIL, Service

from .lead_list import at_the_list, fill_service, is_shown

# The services that tests share, by the names of their fixtures.
SERVICES = ("embedded", *(f"on_{name}" for name in DATABASES))


# First, because pytest-xdist's own hook reads the marks.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group the tests on one of the shared services, so that a run starts each once; any other file is a group.

    That is what pytest-xdist's loadgroup distributes.
    """
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.xdist_group(_shared_service(item) or item.path.stem))


def _shared_service(item: pytest.Item) -> str | None:
    """Return the name of the shared service that a test uses, or None."""
    if item.get_closest_marker("destructive") is not None:
        return None
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    if "database_server" in parameters:
        return f"on_{parameters['database_server']}"
    if "service" in parameters:
        return str(parameters["service"])
    return next(
        (name for name in (*SERVICES, "strict", "seen", "listed") if name in getattr(item, "fixturenames", ())), None
    )


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
    url = database.create_database(tls=False)
    return Service(directories.mktemp(database.name), redis_url=queue.url, database_url=url, claim_after=2)


@pytest.fixture(scope="session")
def production(request: pytest.FixtureRequest, database_server: DatabaseServer) -> Service:
    """The service on servers, once on each database."""
    found: Service = request.getfixturevalue(f"on_{database_server.name}")
    return found


@pytest.fixture(scope="session", params=SERVICES)
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


@pytest.fixture(scope="session")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The embedded service that is looked at through its page; ADMIN may see all of it."""
    with Service(tmp_path_factory.mktemp("seen")) as service:
        add_admin(service)
        yield service


@pytest.fixture(scope="session")
def started_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LeadPage]:
    """The browser that tests of the page share."""
    with lead_page(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture
def page(started_page: LeadPage) -> Iterator[LeadPage]:
    """The shared browser, as if it were new: `visit` opens the page, with nobody logged in."""
    started_page.reset()
    yield started_page
    started_page.reset()


@pytest.fixture(scope="session")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An embedded service with some pages of leads. Its only API process makes its limits exact."""
    with Service(tmp_path_factory.mktemp("listed"), http_workers=1, duplicate_days=30) as service:
        fill_service(service)
        yield service


@pytest.fixture
def leads(page: LeadPage, listed: Service) -> LeadPage:
    """The page at the whole list, as the test user sees it: one log-in serves many tests."""
    if page.shown("#user") == EMAIL and page.run("return location.origin") == listed.base_url:
        go_to(page, "leads")
        page.click("#filter-clear")
        until(lambda: is_shown(page))
        return page
    return at_the_list(page, listed)
