"""The replicas of a Redis: who they are, how far they are, and whether they have what a connection wrote."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import redis
from redis.exceptions import RedisError

from schema.settings.redis_urls import CLUSTER_SCHEME, Address
from schema.settings.shards import Shard

# Time (seconds) for which a primary is not trusted after a replica has left it. A Sentinel that is told to fail over
# promotes one replica first, and takes the other ones away from the old primary within the next two seconds.
SETTLE_TIME = 5.0


class Replica(NamedTuple):
    """A replica as its primary sees it."""

    host: str
    port: int
    lag_bytes: int  # of the primary's writes that it has not acknowledged


class NotConfirmed(RedisError):
    """Too few replicas have what was written."""


def replicas_of(client: redis.Redis) -> list[Replica]:
    """Return the replicas that are connected to the primary. Raises RedisError."""
    return replicas_in(client.info("replication"))


def replicas_in(found: dict[str, Any]) -> list[Replica]:
    """Return the replicas in an answer to INFO replication."""
    offset = int(found.get("master_repl_offset", 0))
    return [
        Replica(each["ip"], int(each["port"]), max(0, offset - int(each.get("offset", 0))))
        for name, each in found.items()
        if name.startswith("slave") and isinstance(each, dict)
    ]


class Topology:
    """Tells whether what replicas of a primary confirm is safe: one that has left it may be promoted already.

    A Cluster needs none of it: its failover by hand waits until the new primary has everything.
    """

    def __init__(self, shard: Shard, clock: Callable[[], float] = time.monotonic) -> None:
        self.is_needed = not shard.url.startswith(CLUSTER_SCHEME)
        self._clock = clock
        self._primary: Address | None = None
        self._replicas: frozenset[Address] = frozenset()
        self._settled_at = 0.0

    def is_settled(self, primary: Address, role: list[Any]) -> bool:
        """Note the primary's answer to ROLE; tell whether none of its replicas has left in the last SETTLE_TIME."""
        replicas = frozenset((_text(host), int(port)) for host, port, *_ in role[2])
        if primary == self._primary and not replicas >= self._replicas:
            self._settled_at = self._clock() + SETTLE_TIME
        self._primary, self._replicas = primary, replicas
        return self._clock() >= self._settled_at


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def confirm(client: redis.Redis, replicas: int, timeout: float, topology: Topology) -> None:
    """Wait until so many replicas have all that was written before now in their memory (WAIT).

    `client` must be of one connection (Redis.client) that has just written: WAIT answers for the connection, and on
    one that was made anew it knows of no write. Raises NotConfirmed after `timeout` seconds or while the primary may be
    losing its place, and RedisError.
    """
    if int(client.wait(replicas, int(timeout * 1000))) < replicas:
        raise NotConfirmed(f"fewer than {replicas} replicas")
    connection: Any = client.connection
    if topology.is_needed and not topology.is_settled(address_of(connection), client.execute_command("ROLE")):
        raise NotConfirmed("a replica has left")


def address_of(connection: Any) -> Address:
    """Return where a connection of redis-py leads to; a socket's path has port 0."""
    return (connection.host, connection.port) if hasattr(connection, "port") else (connection.path, 0)
