"""Redis clients for the queue. Make each after the fork, in the process that uses it.

Under Sentinel a client asks it for the primary at each connect. So a connection that is dropped and made again follows
a failover.
"""

from typing import Any

import redis
import redis.asyncio
from redis.asyncio import sentinel as async_sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as NotConnected
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry
from redis.sentinel import Sentinel

from schema.settings import Settings

# When on, redis-py 8 does not check whether the server has closed an idle connection, and the first command after a
# restart of Redis fails.
_NO_NOTICES = MaintNotificationsConfig(enabled=False)

# Timeout of a Sentinel, seconds: they are asked one after the other, within the timeout of one request.
SENTINEL_TIMEOUT = 0.2

# For the connections to Sentinels. redis-py's default are ten tries of each.
ASK_ONCE: dict[str, Any] = {
    "socket_timeout": SENTINEL_TIMEOUT,
    "socket_connect_timeout": SENTINEL_TIMEOUT,
    "retry": Retry(NoBackoff(), 0),
}


def blocking_redis(settings: Settings, *, timeout: float) -> redis.Redis:
    """Make a blocking client. `timeout` (seconds) bounds the connecting and each answer.

    It never retries: a command that timed out may have been executed, and a second XADD would be
    a second lead.
    """
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "maint_notifications_config": _NO_NOTICES,
    }
    if settings.sentinel is None:
        return redis.Redis.from_url(settings.queue_url, **options)
    sentinel = Sentinel(settings.sentinel.sentinels, sentinel_kwargs=ASK_ONCE)
    client: redis.Redis = sentinel.master_for(
        settings.sentinel.name, redis_connect_func=_check_primary, **_credentials(settings), **options
    )
    return client


def async_redis(settings: Settings, *, timeout: float, connections: int) -> redis.asyncio.Redis:
    """Make an asyncio client with the timeout and without retries, as `blocking_redis`.

    When all `connections` are in use, a command waits for one, at most `timeout` seconds.
    """
    options: dict[str, Any] = {
        "timeout": timeout,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": AsyncRetry(NoBackoff(), 0),
        "maint_notifications_config": _NO_NOTICES,
        "max_connections": connections,
    }
    if settings.sentinel is None:
        return redis.asyncio.Redis.from_pool(
            redis.asyncio.BlockingConnectionPool.from_url(settings.queue_url, **options)
        )
    sentinel = async_sentinel.Sentinel(
        settings.sentinel.sentinels, sentinel_kwargs=ASK_ONCE | {"retry": AsyncRetry(NoBackoff(), 0)}
    )
    return redis.asyncio.Redis.from_pool(
        _SentinelPool(
            settings.sentinel.name,
            sentinel,
            redis_connect_func=_check_primary_async,
            **_credentials(settings),
            **options,
        )
    )


class _SentinelPool(async_sentinel.SentinelConnectionPool, redis.asyncio.BlockingConnectionPool):
    """A pool that waits for a connection when all are in use, as the one without Sentinel does."""

    async def disconnect(self, inuse_connections: bool = True) -> None:
        """Close the connections; when all are meant, those to the Sentinels too."""
        await super().disconnect(inuse_connections)
        if inuse_connections:
            await self.sentinel_manager.aclose()


def _credentials(settings: Settings) -> dict[str, str | None]:
    found = settings.sentinel
    return {"username": found.username or None, "password": found.password or None} if found else {}


def _check_primary(connection: Any) -> None:
    """Sign in, and raise ConnectionError when the server is no primary: a Sentinel may not know yet."""
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
