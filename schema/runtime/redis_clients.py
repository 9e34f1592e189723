"""Redis clients. Make each after the fork, in the process that uses it.

Under Sentinel and in a Cluster a client asks for the primary's address at each connect. So a connection that is
dropped and made again follows a failover.
"""

from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import redis
import redis.asyncio
from redis.asyncio import sentinel as async_sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as NotConnected
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from schema.runtime import cluster
from schema.runtime.cluster import ASK_TIMEOUT
from schema.runtime.connections import (
    AsyncConnection,
    AsyncOneByOneSentinels,
    AsyncSentinelConnection,
    OneByOneSentinels,
    SentinelConnection,
)
from schema.runtime.keepalive import KEEPALIVE
from schema.runtime.redis_replicas import Replica
from schema.settings import Settings
from schema.settings.redis_urls import CLUSTER_SCHEME, SENTINEL_SCHEME, ClusterUrl, SentinelUrl
from schema.settings.shards import Shard

# When on, redis-py 8 does not check whether the server has closed an idle connection, and the first command after a
# restart of Redis fails.
_NO_NOTICES = MaintNotificationsConfig(enabled=False)

# For the connections to Sentinels, which are asked one after the other within the timeout of one request. redis-py's
# default are ten tries of each.
ASK_ONCE: dict[str, Any] = {
    "socket_timeout": ASK_TIMEOUT,
    "socket_connect_timeout": ASK_TIMEOUT,
    "retry": Retry(NoBackoff(), 0),
}


class ShardClient(NamedTuple):
    """A blocking client of the server that has a shard."""

    shard: Shard
    client: redis.Redis


class AsyncShardClient(NamedTuple):
    """An asyncio client of the server that has a shard."""

    shard: Shard
    client: redis.asyncio.Redis


def blocking_shards(settings: Settings, *, timeout: float, only_reads: bool = False) -> list[ShardClient]:
    """Make a blocking client for each shard, as `blocking_redis`."""
    return [
        ShardClient(each, blocking_redis(each, timeout=timeout, only_reads=only_reads)) for each in settings.all_shards
    ]


def blocking_home_shard(settings: Settings, *, timeout: float) -> ShardClient:
    """Make a blocking client of the shard that has what belongs to no lead, as `blocking_redis`."""
    return ShardClient(settings.home_shard, blocking_redis(settings.home_shard, timeout=timeout))


def async_shards(settings: Settings, *, connections: int, only_reads: bool = False) -> list[AsyncShardClient]:
    """Make an asyncio client for each shard, as `async_redis`."""
    return [
        AsyncShardClient(each, async_redis(each, settings, connections=connections, only_reads=only_reads))
        for each in settings.all_shards
    ]


def blocking_broker(settings: Settings, *, timeout: float) -> redis.Redis:
    """Make a blocking client of the server that has Celery's messages."""
    return blocking_redis(Shard(settings.tickets_url), timeout=timeout)


def blocking_redis(shard: Shard, *, timeout: float, only_reads: bool = False) -> redis.Redis:
    """Make a blocking client of a shard's primary. `timeout` (seconds) bounds the connecting and each answer.

    It never sends a command twice: one that timed out may have been executed, and a second XADD would be a second
    lead. With `only_reads` it does so once after a lost connection, since after a failover each one left is lost.
    """
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), int(only_reads), supported_errors=(NotConnected,)),
        "maint_notifications_config": _NO_NOTICES,
    }
    if shard.url.startswith(SENTINEL_SCHEME):
        found = SentinelUrl.parse(shard.url)
        sentinel = OneByOneSentinels(found.sentinels, sentinel_kwargs=ASK_ONCE)
        client: redis.Redis = sentinel.master_for(
            found.name,
            connection_class=SentinelConnection,
            redis_connect_func=_check_primary,
            socket_keepalive_options=KEEPALIVE,
            **_credentials(found),
            **options,
        )
        return client
    if shard.url.startswith(CLUSTER_SCHEME):
        nodes = ClusterUrl.parse(shard.url)
        return redis.Redis.from_pool(
            redis.ConnectionPool(
                connection_class=cluster.OwnerConnection,
                owner=cluster.Owner(nodes, shard.slot),
                redis_connect_func=_check_primary,
                socket_keepalive_options=KEEPALIVE,
                **_credentials(nodes),
                **options,
            )
        )
    return redis.Redis.from_url(shard.url, **options)


def replica_client(shard: Shard, replica: Replica, *, timeout: float) -> redis.Redis:
    """Make a blocking client of a replica of a shard's primary, with the primary's credentials. It returns text."""
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "decode_responses": True,
    }
    host, port = replica.host, replica.port
    for scheme, parse in ((SENTINEL_SCHEME, SentinelUrl.parse), (CLUSTER_SCHEME, ClusterUrl.parse)):
        if shard.url.startswith(scheme):
            return redis.Redis(host, port, **_credentials(parse(shard.url)), **options)
    url = urlsplit(shard.url)
    credentials, at, _ = url.netloc.rpartition("@")
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if url.scheme == "unix":
        url = url._replace(scheme="redis", path="")
    return redis.Redis.from_url(urlunsplit(url._replace(netloc=f"{credentials}{at}{place}")), **options)


def async_redis(shard: Shard, settings: Settings, *, connections: int, only_reads: bool = False) -> redis.asyncio.Redis:
    """Make an asyncio client of a shard's primary, with LEADS_REDIS_TIMEOUT. It retries as `blocking_redis` does.

    When all `connections` are in use, a command waits for one, at most as long.
    """
    timeout = settings.redis_timeout
    options: dict[str, Any] = {
        "timeout": timeout,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": AsyncRetry(NoBackoff(), int(only_reads), supported_errors=(NotConnected,)),
        "maint_notifications_config": _NO_NOTICES,
        "max_connections": connections,
    }
    if shard.url.startswith(SENTINEL_SCHEME):
        found = SentinelUrl.parse(shard.url)
        sentinel = AsyncOneByOneSentinels(
            found.sentinels, sentinel_kwargs=ASK_ONCE | {"retry": AsyncRetry(NoBackoff(), 0)}
        )
        return redis.asyncio.Redis.from_pool(
            _SentinelPool(
                found.name,
                sentinel,
                connection_class=AsyncSentinelConnection,
                redis_connect_func=_check_primary_async,
                socket_keepalive_options=KEEPALIVE,
                **_credentials(found),
                **options,
            )
        )
    if shard.url.startswith(CLUSTER_SCHEME):
        nodes = ClusterUrl.parse(shard.url)
        return redis.asyncio.Redis.from_pool(
            redis.asyncio.BlockingConnectionPool(
                connection_class=cluster.AsyncOwnerConnection,
                owner=cluster.AsyncOwner(nodes, shard.slot),
                redis_connect_func=_check_primary_async,
                socket_keepalive_options=KEEPALIVE,
                **_credentials(nodes),
                **options,
            )
        )
    if shard.url.startswith("redis://"):
        options["connection_class"] = AsyncConnection
    return redis.asyncio.Redis.from_pool(redis.asyncio.BlockingConnectionPool.from_url(shard.url, **options))


class _SentinelPool(async_sentinel.SentinelConnectionPool, redis.asyncio.BlockingConnectionPool):
    """A pool that waits for a connection when all are in use, as the one without Sentinel does."""

    async def disconnect(self, inuse_connections: bool = True) -> None:
        """Close the connections; when all are meant, those to the Sentinels too."""
        await super().disconnect(inuse_connections)
        if inuse_connections:
            await self.sentinel_manager.aclose()


def _credentials(found: SentinelUrl | ClusterUrl) -> dict[str, Any]:
    return {"username": found.username or None, "password": found.password or None}


def _check_primary(connection: Any) -> None:
    """Sign in, and raise ConnectionError when the server is no primary: who was asked may not know yet."""
    connection.on_connect()
    connection.send_command("ROLE")
    _check_role(connection.read_response())


async def _check_primary_async(connection: Any) -> None:
    await connection.on_connect()
    await connection.send_command("ROLE")
    _check_role(await connection.read_response())


def _check_role(role: Any) -> None:
    if role[0] not in (b"master", "master"):
        raise NotConnected("the server is no primary")
