"""The replicas of a Redis: who they are, how far they are, and whether they have what a connection wrote."""

from typing import Any, NamedTuple

import redis
from redis.exceptions import RedisError


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


def confirm(connection: redis.Redis, replicas: int, timeout: float) -> None:
    """Wait until so many replicas have all that was written before now in their memory (WAIT).

    `connection` must be a client of one connection (Redis.client) that has just written: WAIT answers for the
    connection, and on one that was made anew it knows of no write. Raises NotConfirmed after `timeout` seconds, and
    RedisError.
    """
    if replicas and int(connection.wait(replicas, int(timeout * 1000))) < replicas:
        raise NotConfirmed(f"fewer than {replicas} replicas")
