"""ingest_api.reads.database_servers: which server is the primary, and how far the replica is."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ingest_api.database.reader_pool import ReaderPool
from ingest_api.reads.database_servers import DatabaseServers
from schema.database import engines
from tests.integration.pairs import LAG, Pair
from tests.kit.databases import DatabaseServer, MySQLServer
from tests.kit.group_replication import GroupReplication
from tests.kit.servers import until

pytestmark = pytest.mark.hosts


@pytest.fixture
def known() -> Iterator[Callable[[str], dict[str, Any]]]:
    """Ask the database at a URL."""
    pools: list[ReaderPool] = []

    def ask(url: str) -> dict[str, Any]:
        pools.append(ReaderPool(engines.reader(url, timeout=5, pool_size=1), 1, timeout=5))
        return asyncio.run(DatabaseServers(pools[-1], None).read())

    yield ask
    for each in pools:
        each.close()


def test_sqlite_says_nothing(known: Callable[[str], dict[str, Any]], tmp_path):
    assert known(f"sqlite:///{tmp_path / 'leads.db'}") == {}


def test_a_server_alone_is_the_primary(known: Callable[[str], dict[str, Any]], database_server: DatabaseServer):
    # Given an account that may see no more than its own database
    url = database_server.create_database()

    [(host,)] = database_server.execute("SELECT @@hostname")
    assert known(url) == {"primary": f"{host}:{database_server.port}"}


def test_a_server_that_was_demoted_is_no_primary(known: Callable[[str], dict[str, Any]], mysql_server: MySQLServer):
    url = mysql_server.create_database()

    with mysql_server.variable("read_only", "ON"):
        assert known(url) == {}


@pytest.mark.slow
def test_a_replica_that_stops_is_behind_by_the_second(pair: Pair):
    # Given a replica that keeps up
    servers = DatabaseServers(pair.paths[0], pair.reads)
    until(pair.looks, 20)
    assert asyncio.run(servers.read())["replica_lag_seconds"] < LAG

    # When it stops following
    pair.follower.stop_applying()
    pair.store(1)

    until(lambda: not pair.looks(), 20, 0.1)
    assert asyncio.run(servers.read())["replica_lag_seconds"] >= LAG


@pytest.mark.slow
@pytest.mark.extended
def test_a_group_names_its_primary_and_the_state_of_its_members(
    known: Callable[[str], dict[str, Any]], group: GroupReplication
):
    # Given an account that may not look at the group
    group.wait_until_whole()
    first = group.primary
    [(host,)] = first.execute("SELECT @@hostname")
    assert known(group.url) == {"primary": f"{host}:{first.port}"}

    # When it may
    first.execute(f"GRANT SELECT ON performance_schema.replication_group_members TO {first.USER}@'%'")

    # Then it names the members as they name themselves
    names = [f"{each.place.address}:{each.port}" for each in group.members]
    found = known(group.url)
    assert found == {"primary": f"{first.place.address}:{first.port}", "members": dict.fromkeys(names, "ONLINE")}

    # And another primary after a switch
    second = next(each for each in group.members if each is not first)
    group.make_primary(second)
    group.wait_for_routers()
    assert known(group.url)["primary"] == f"{second.place.address}:{second.port}"
