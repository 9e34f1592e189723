"""Tables of a group behind MySQL Router: migrations, the retention when the primary changes, reads at a secondary."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from ingest_api.database.reader_pool import ReaderPool
from ingest_api.database.replica import Lag, Replica
from schema.counts import retention, totals
from schema.database import engines
from schema.database.migrations.runner import downgrade, migrate
from tests.integration.backends import Backend
from tests.integration.test_counts import rows_at
from tests.integration.test_partitions import NOW, listed, moments, store
from tests.kit.group_replication import GroupReplication
from tests.kit.members import Member
from tests.kit.servers import until
from workers.store import insertion

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.extended]


@pytest.fixture(autouse=True)
def _mended(group: GroupReplication) -> None:
    group.mend()


# How far a secondary may be behind, seconds.
LAG = 1.0


def tables(member: Member, url: str) -> set[str]:
    rows = member.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = %s", name_of(url))
    return {str(row[0]) for row in rows}


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


def test_migrations_go_there_and_back_through_the_router(group: GroupReplication):
    # Given an empty database
    url = group.create_database()

    # When it is migrated, then every member has the tables, and each of them a primary key, which the group asks for
    migrate(url)
    there = tables(group.primary, url)
    until(lambda: all(tables(each, url) == there for each in group.members), 30)
    keyless = group.primary.execute(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = %s AND table_name NOT IN (SELECT "
        "table_name FROM information_schema.table_constraints WHERE table_schema = %s AND constraint_type = "
        "'PRIMARY KEY')",
        name_of(url),
        name_of(url),
    )
    assert keyless == ()
    with create_engine(url, poolclass=NullPool).connect() as connection:
        assert insertion.store(connection, rows_at(moments(0, each=3)), 0).stored

    # When it is taken back, then nothing is left but alembic's table; and then it is migrated again
    downgrade(url, "base")
    assert tables(group.primary, url) == {"alembic_version"}
    migrate(url)
    assert tables(group.primary, url) == there


def test_migrations_go_on_at_another_primary(group: GroupReplication):
    # Given tables of an older revision, when there is another primary
    url = group.create_database()
    migrate(url, "0003")
    first = group.primary
    group.make_primary(next(each for each in group.members if each is not first))
    group.wait_for_routers()

    migrate(url)

    until(lambda: all(tables(each, url) == tables(group.primary, url) for each in group.members), 30)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_retention_whose_primary_changes_in_the_middle_is_ended_by_another_process(
    group: GroupReplication, grouped: Backend, when: str, monkeypatch: pytest.MonkeyPatch
):
    # Given a process that removes old leads, and holds a lock that the next primary knows nothing of
    store(grouped, moments(0, 5))
    remove = retention._remove

    def while_the_primary_changes(connection: Connection, cutoff: int) -> None:
        monkeypatch.setattr(retention, "_remove", remove)
        if when == "after":
            remove(connection, cutoff)
        first = group.primary
        group.make_primary(next(each for each in group.members if each is not first))
        group.wait_for_routers()
        # When another one begins there
        until(lambda: expired(grouped), 30, 0.1)
        if when == "before":
            remove(connection, cutoff)

    monkeypatch.setattr(retention, "_remove", while_the_primary_changes)
    with grouped.engine.connect() as connection, pytest.raises(SQLAlchemyError):
        retention.expire(connection, 2, NOW)

    # Then each lead is subtracted once, and the cutoff is gone
    with grouped.engine.connect() as connection:
        version = totals.version(connection)
        assert (version.total, version.expired, version.retention_cutoff) == (30, 30, 0)
        assert listed(connection) == (30, 30)
    grouped.assert_counted()


def expired(backend: Backend) -> bool:
    """Run the retention as another process; tell whether it came to its end."""
    engine = create_engine(backend.engine.url, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            retention.expire(connection, 2, NOW)
    except SQLAlchemyError:
        return False
    return True


class Reads:
    """Reads of the service, at a secondary while it keeps up."""

    def __init__(self, primary_url: str, secondary_url: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.pools = [self._pool(primary_url), self._pool(primary_url), self._pool(secondary_url)]
        self.replica = Replica(self.pools[2], self.pools[0], self.pools[1], Lag(LAG))

    def _pool(self, url: str) -> ReaderPool:
        return ReaderPool(engines.reader(url, timeout=3, pool_size=2), 2, timeout=3)

    def at_the_secondary(self) -> bool:
        """Look at both, and tell whether the secondary is read."""
        self.loop.run_until_complete(self.replica.look())
        return self.replica.usable

    def total(self) -> int:
        """Return the number of leads as a request does."""
        return self.loop.run_until_complete(self.replica.in_snapshot(totals.version)).total

    def close(self) -> None:
        for each in self.pools:
            each.close()
        self.loop.close()


@pytest.fixture
def make_reads() -> Iterator[Callable[[str, str], Reads]]:
    made: list[Reads] = []

    def make(primary_url: str, secondary_url: str) -> Reads:
        made.append(Reads(primary_url, secondary_url))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_secondary_that_is_behind_is_not_read(
    group: GroupReplication, grouped: Backend, make_reads: Callable[[str, str], Reads]
):
    # Given a secondary that keeps up
    secondary = next(each for each in group.members if each is not group.primary)
    reads = make_reads(group.url, group.direct_url(secondary))
    store(grouped, moments(0, each=10))
    until(reads.at_the_secondary, 20, 0.1)

    # When it applies nothing more
    secondary.stop_applying()
    store(grouped, moments(1, each=5))

    # Then the primary is read, and all is there
    until(lambda: not reads.at_the_secondary(), 20, 0.1)
    assert reads.total() == 15

    # And when it goes on, it is read again
    secondary.go_on_applying()
    until(reads.at_the_secondary, 20, 0.1)
    assert reads.total() == 15
