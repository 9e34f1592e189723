"""A site: hosts, the queue in one of its two forms, beat, a database of its own; and what became of a load there."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import psutil

from compose import preflight
from loadtests.bench.hosts.bound import Hierarchy
from loadtests.bench.hosts.host import BoundNode, Host
from loadtests.bench.hosts.process import Process, StandIn
from loadtests.bench.wrk import BadAnswers
from schema.queue.keys import STREAM
from schema.runtime.redis_clients import blocking_shards
from schema.settings import Settings
from tests.kit.cluster import ClusterSet
from tests.kit.databases import DatabaseServer
from tests.kit.servers import RedisServer, until

# The forms of the queue.
ONE_REDIS, CLUSTER = "one Redis", "Cluster"

# Longest wait (seconds) until the last leads of a load are stored.
DRAIN = 300.0

REDIS_TIMEOUT = 10.0  # seconds


class Site:
    """So many hosts with their queue. Everything stops at the block's end, and what was stored is left behind."""

    def __init__(
        self,
        form: str,
        hosts: int,
        hierarchy: Hierarchy,
        database: DatabaseServer,
        directory: Path,
        *,
        stand_ins: int = 0,
    ) -> None:
        self.form = form
        self.stand_ins = [StandIn(hierarchy, number) for number in range(stand_ins)]
        self.hosts = [Host(hierarchy, number) for number in range(1, hosts + 1)]
        self.database = database
        self.outside = RedisServer()  # the broker; in the form of one Redis the queue, too
        self.cluster: ClusterSet | None = None
        self._directory = directory
        self._stack = ExitStack()
        self._beat: Process | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for each in self.hosts:
                stack.enter_context(each)
            for stand_in in self.stand_ins:
                stack.enter_context(stand_in)
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, stack: ExitStack) -> None:
        stack.enter_context(self.outside)
        queue: dict[str, Any] = {"redis_url": self.outside.url}
        if self.form == CLUSTER:
            self.cluster = stack.enter_context(
                # No replicas: a host alone has no other to keep one, and one host has to be compared with four.
                ClusterSet(len(self.hosts), 0, lambda number: BoundNode(self.hosts[number].bound))
            )
            queue = {
                "redis_url": self.cluster.url,
                "queue_shards": len(self.hosts),
                "broker_url": self.outside.url,
            }
        url = self.database.create_database()
        self._table = f"{url.rpartition('/')[2]}.leads"
        common = Settings(data_dir=self._directory, database_url=url, **queue)
        preflight.prepare_keys(common)
        preflight.prepare_database(common)
        self._shards = blocking_shards(common, timeout=REDIS_TIMEOUT)
        for _, client in self._shards:
            stack.callback(client.close)
        settings = {
            **queue,
            "database_url": url,
            "rate_limit": 0,
            "http_workers": 1,
            "worker_concurrency": 1,
            "jwt_private_key": common.private_key_path,
            "jwt_public_key": common.public_key_path,
        }
        for each in self.hosts:
            each.start(self._directory, settings)
        first = self.hosts[0].service
        assert first is not None
        self._beat = Process("workers", "beat", first.environment, self._directory / "beat.log", None)
        stack.callback(self._beat.stop)
        for each in self.hosts:
            each.wait()
        self.token = first.token()
        self._service = first

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Return the processes by part."""
        assert self._beat is not None
        nodes = self.cluster.nodes if self.cluster else []
        return {
            "API": [process for each in self.hosts for process in each.processes("api")],
            "worker": [process for each in self.hosts for process in each.processes("worker")],
            "shards": [psutil.Process(each.pid) for each in nodes],
            "Redis outside": [psutil.Process(self.outside.pid)],
            "database": [psutil.Process(self.database.pid)],
            "beat": self._beat.family(),
            "stand-ins": [process for each in self.stand_ins for process in each.processes()],
        }

    def waiting(self) -> int:
        """Return how many leads are in the queue."""
        found: list[Any] = [client.xlen(shard.name(STREAM)) for shard, client in self._shards]
        return sum(found)

    def drain(self) -> None:
        """Wait until the queue is empty."""
        until(lambda: self.waiting() == 0, DRAIN, 0.05)

    def stored(self, tags: list[str]) -> int:
        """Return how many leads of these loads are in the table. Raises BadAnswers when one is stored twice."""
        matches = " OR ".join(f"email LIKE '{tag}-%'" for tag in tags)
        query = f"SELECT COUNT(*), COUNT(DISTINCT email) FROM {self._table} WHERE {matches}"
        ((rows, different),) = self.database.execute(query)
        if rows != different:
            raise BadAnswers(f"{rows - different} leads are stored twice")
        return int(rows)

    def check_ledger(self) -> None:
        """Check that the ledger balances and equals the rows. Raises BadAnswers."""
        balance = self._service.balance()
        if not balance.startswith("Balanced"):
            raise BadAnswers(f"the ledger says {balance}")
