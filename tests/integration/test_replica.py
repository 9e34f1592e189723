"""ingest_api.database.replica: reads go to a replica while it keeps up, else to the primary."""

import asyncio
from collections.abc import Iterator

import pytest

from ingest_api.database.reader_pool import ReaderPool
from ingest_api.database.replica import Lag, Replica
from schema.counts import totals
from schema.counts.totals import DataVersion
from schema.database import engines
from schema.database.migrations.runner import migrate
from tests.integration.test_counts import START, rows_at
from tests.kit.databases import DATABASES, DatabaseServer
from tests.kit.servers import until
from workers.store import insertion

LAG = 1.0


class Pair:
    """A primary and its replica, and the service's way to both."""

    def __init__(self, primary: DatabaseServer, follower: DatabaseServer, url: str) -> None:
        self.primary = primary
        self.follower = follower
        self.url = url
        self._stored = 0
        self._loop = asyncio.new_event_loop()
        at_replica = url.replace(f":{primary.port}/", f":{follower.port}/")
        self.paths = [self._path(url), self._path(url), self._path(at_replica)]
        self.reads = Replica(self.paths[2], self.paths[0], self.paths[1], Lag(LAG))

    def _path(self, url: str) -> ReaderPool:
        return ReaderPool(engines.reader(url, timeout=3, pool_size=2), 2, timeout=3)

    def close(self) -> None:
        """End the threads and the loop."""
        for path in self.paths:
            path.close()
        self._loop.close()

    def store(self, number: int) -> None:
        """Store leads at the primary."""
        engine = engines.writer(self.url, timeout=10)
        with engine.connect() as connection:
            times = [START * 1_000_000 + self._stored + each for each in range(number)]
            insertion.store(connection, rows_at(times), 0)
        engine.dispose()
        self._stored += number

    def looks(self) -> bool:
        """Look at both servers, and tell whether the replica is read."""
        self._loop.run_until_complete(self.reads.look())
        return self.reads.usable

    def read(self) -> DataVersion:
        """Read the version as a request does."""
        return self._loop.run_until_complete(self.reads.in_snapshot(totals.version))

    def served_by(self, server: DatabaseServer) -> bool:
        """Tell whether a request is answered by this server."""
        before = int(server.execute("SHOW GLOBAL STATUS LIKE 'Com_select'")[0][1])
        self.read()
        return int(server.execute("SHOW GLOBAL STATUS LIKE 'Com_select'")[0][1]) > before


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
        yield made
        made.close()


@pytest.mark.slow
def test_reads_go_where_the_leads_are(pair: Pair):
    # Given a replica that keeps up
    pair.store(10)
    until(pair.looks, 20)
    assert pair.served_by(pair.follower)
    assert not pair.served_by(pair.primary)

    # When it stops following, and leads are stored
    pair.follower.stop_applying()
    pair.store(5)

    # Then the primary is read once the replica is too far behind, and all is there
    until(lambda: not pair.looks(), 20, every=0.1)
    assert pair.served_by(pair.primary)
    assert pair.read().total == 15

    # When it goes on, then it is read again by itself
    pair.follower.go_on_applying()
    until(pair.looks, 20, every=0.1)
    assert pair.served_by(pair.follower)
    assert pair.read().total == 15

    # When it hangs, then a request waits no longer than the timeout, and the next ones not at all
    with pair.follower.hanging():
        assert pair.read().total == 15
        assert not pair.reads.usable
        assert pair.read().total == 15
    until(pair.looks, 20, every=0.1)

    # When it is gone, then the request that finds it out is answered all the same
    pair.follower.kill()
    assert pair.read().total == 15
    assert not pair.reads.usable
    assert not pair.looks()
    pair.follower.start()
    until(pair.looks, 20, every=0.1)

    # When the primary is gone, the replica is still read
    pair.primary.kill()
    assert pair.looks()
    assert pair.read().total == 15


def test_lag_is_told_by_what_the_primary_had_so_long_ago():
    now = 100.0
    lag = Lag(5.0, lambda: now)
    assert lag.allows(0)
    for number in range(20):
        now = 100.0 + number
        lag.primary_at(number)

    # At 119 the primary was at 14 five seconds ago
    assert lag.allows(14)
    assert not lag.allows(13)


def test_the_lag_is_the_time_since_the_primary_was_where_the_replica_is():
    now = 0.0
    lag = Lag(5.0, lambda: now)
    found = []

    # The primary stores one lead a second; the replica has none from the third second on, and is away at the last look.
    for second, progress in enumerate([0, 1, 2, 2, 2, 2, None]):
        now = float(second)
        lag.primary_at(second)
        found.append(lag.seconds(progress))

    assert found == [0, 0, 0, 1, 2, 3, 4]
