"""A primary database and its replica, and the service's way to both."""

import asyncio

import pymysql

from ingest_api.database.reader_pool import ReaderPool
from ingest_api.database.replica import Lag, Replica
from schema.counts import totals
from schema.counts.totals import DataVersion
from schema.database import engines
from tests.integration.test_counts import START, rows_at
from tests.kit.databases import DatabaseServer
from workers.store import insertion

LAG = 1.0


class Pair:
    """Both servers, and the leads stored so far."""

    def __init__(self, primary: DatabaseServer, follower: DatabaseServer, url: str) -> None:
        self.primary = primary
        self.follower = follower
        self.url = url
        self._stored = 0
        self._loop = asyncio.new_event_loop()
        self.replica_url = url.replace(f":{primary.port}/", f":{follower.port}/")
        self.paths = [self._path(url), self._path(url), self._path(self.replica_url)]
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

    def has_revision(self) -> bool:
        """Tell whether the replica has the migrations of its primary."""
        asked = f"SELECT version_num FROM {self.url.rpartition('/')[2]}.alembic_version"
        try:
            return self.follower.execute(asked) == self.primary.execute(asked)
        except pymysql.err.ProgrammingError:  # not even the table
            return False

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
