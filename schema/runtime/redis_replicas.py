"""The replicas of a Redis: who they are, and how far they are."""

from typing import Any, NamedTuple

import redis

from schema.settings.redis_urls import Address


class Replica(NamedTuple):
    """A replica as its primary sees it."""

    host: str
    port: int
    lag_bytes: int  # of the primary's writes that it has not acknowledged


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


def address_of(connection: Any) -> Address:
    """Return where a connection of redis-py leads to; a socket's path has port 0."""
    return (connection.host, connection.port) if hasattr(connection, "port") else (connection.path, 0)
