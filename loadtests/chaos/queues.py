"""The queues that a chaos run can have: one Redis, one under Sentinel, or a Cluster. Faults hit the primary."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import redis

from tests.kit.cluster import PRIMARIES, ClusterSet
from tests.kit.sentinels import SentinelSet
from tests.kit.servers import RedisServer

# A slot of the second shard, whose primary is hit in a Cluster.
SLOT = 16384 // 2


class Queue(Protocol):
    """What a run needs of its queue."""

    title: str
    settings: dict[str, Any]  # of the service
    server: Any  # what faults kill, hang and bring back

    def streams(self) -> Iterator[tuple[redis.Redis, str]]:
        """Yield a client for each shard, with what its keys begin with."""


class OneRedis:
    """A single server."""

    def __init__(self, server: RedisServer) -> None:
        self.title = f"Redis {server.version()}"
        self.settings = {"redis_url": server.url}
        self.server = server

    def streams(self) -> Iterator[tuple[redis.Redis, str]]:
        """Yield a client of the server."""
        yield self.server.client(), "leads:"


class Sentinels:
    """A primary, two replicas and three Sentinels."""

    def __init__(self, servers: SentinelSet) -> None:
        self.title = f"Redis {servers.primary.version()} under Sentinel"
        self.settings = {"redis_url": servers.url, "redis_replicas": 1}
        self.server = _Primary(lambda: servers.primary)
        self._servers = servers

    def streams(self) -> Iterator[tuple[redis.Redis, str]]:
        """Yield a client of the present primary."""
        yield self._servers.primary.client(), "leads:"


class Cluster:
    """Three shards on a Redis Cluster, and a Redis for Celery."""

    def __init__(self, nodes: ClusterSet, broker: RedisServer) -> None:
        self.title = f"Redis Cluster {broker.version()}, {PRIMARIES} shards"
        self.settings = {
            "redis_url": nodes.url,
            "queue_shards": PRIMARIES,
            "redis_replicas": 1,
            "broker_url": broker.url,
        }
        self.server = _Primary(lambda: nodes.primary_of(SLOT))
        self._nodes = nodes

    def streams(self) -> Iterator[tuple[redis.Redis, str]]:
        """Yield a client of each primary, with the prefix of the shard that it has."""
        for node in self._nodes.nodes:
            client = node.client()
            streams = client.keys("leads:{*}:stream") if node.is_primary() else []
            yield from ((client, name.decode().removesuffix("stream")) for name in streams)


class _Primary:
    """The server that is the primary when a fault hits it, until it is mended."""

    def __init__(self, find: Any) -> None:
        self._find = find
        self._hit: RedisServer | None = None

    @property
    def pid(self) -> int:
        return self._victim().pid

    def hang(self) -> None:
        self._victim().hang()

    def kill(self) -> None:
        self._victim().kill()

    def resume(self) -> None:
        self._victim().resume()
        self._hit = None

    def start(self) -> None:
        self._victim().start()
        self._hit = None

    def _victim(self) -> RedisServer:
        if self._hit is None:
            self._hit = self._find()
        return self._hit


@contextmanager
def started(name: str) -> Iterator[Queue]:
    """Start the servers of a queue: `one`, `sentinel` or `cluster`."""
    if name == "sentinel":
        with SentinelSet() as servers:
            yield Sentinels(servers)
    elif name == "cluster":
        with RedisServer() as broker, ClusterSet() as nodes:
            yield Cluster(nodes, broker)
    else:
        with RedisServer() as server:
            yield OneRedis(server)
