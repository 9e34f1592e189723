"""The confirmation of a write by replicas, and why a replica that has left its primary may make it worthless."""

import time
from collections.abc import Callable
from typing import Any

import redis
from redis.exceptions import RedisError

from schema.runtime.cluster import ASK_TIMEOUT
from schema.runtime.redis_clients import replica_client
from schema.runtime.redis_replicas import Replica, address_of
from schema.settings.redis_urls import CLUSTER_SCHEME, Address
from schema.settings.shards import Shard

# Time (seconds) for which a primary is not trusted after one of its replicas was promoted. A Sentinel that is told to
# fail over takes the other replicas away from the old primary within the next two seconds.
SETTLE_TIME = 5.0


class NotConfirmed(RedisError):
    """Too few replicas have what was written, or their primary is being replaced."""


class Topology:
    """What is known of a primary's replicas: one that has left it may be promoted already (docs/adr/0014).

    A Cluster needs none of it: its failover by hand waits until the new primary has everything.
    """

    def __init__(self, shard: Shard, clock: Callable[[], float] = time.monotonic) -> None:
        self.is_needed = not shard.url.startswith(CLUSTER_SCHEME)
        self._clock = clock
        self._primary: Address | None = None
        self._replicas: frozenset[Address] = frozenset()
        self._settled_at = 0.0

    @property
    def is_settled(self) -> bool:
        """Whether the primary may be trusted."""
        return self._clock() >= self._settled_at

    def left(self, primary: Address, role: list[Any]) -> list[Replica]:
        """Note the primary's answer to ROLE; return the replicas that have left it since the last one."""
        replicas = frozenset((_text(host), int(port)) for host, port, *_ in role[2])
        left = self._replicas - replicas if primary == self._primary else frozenset()
        self._primary, self._replicas = primary, replicas
        return [Replica(host, port, 0) for host, port in left]

    def distrust(self) -> None:
        """Do not trust the primary for SETTLE_TIME."""
        self._settled_at = self._clock() + SETTLE_TIME


def is_promoted(shard: Shard, replica: Replica) -> bool:
    """Ask a server that was a replica whether it is a primary now. Blocks; one that does not answer is none."""
    client = replica_client(shard, replica, timeout=ASK_TIMEOUT)
    try:
        role: Any = client.role()
        return bool(role[0] == "master")
    except RedisError:
        return False
    finally:
        client.close()


def confirm(client: redis.Redis, shard: Shard, replicas: int, timeout: float, topology: Topology) -> None:
    """Wait until so many replicas have all that was written before now in their memory (WAIT).

    `client` must be of one connection (Redis.client) that has just written: WAIT answers for the connection, and on
    one that was made anew it knows of no write. Raises NotConfirmed after `timeout` seconds or while the primary is
    being replaced, and RedisError.
    """
    if int(client.wait(replicas, int(timeout * 1000))) < replicas:
        raise NotConfirmed(f"fewer than {replicas} replicas")
    if not topology.is_needed:
        return
    connection: Any = client.connection
    left = topology.left(address_of(connection), client.execute_command("ROLE"))
    if any(is_promoted(shard, each) for each in left):
        topology.distrust()
    if not topology.is_settled:
        raise NotConfirmed("a replica was promoted")


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
