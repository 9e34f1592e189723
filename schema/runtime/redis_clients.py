"""Connections to the queue. Make each after the fork that will use it."""

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from schema.settings import Settings

# With them on, redis-py 8 no longer looks whether the server has closed an idle connection, and the first command
# after a restart of Redis fails.
_NO_NOTICES = MaintNotificationsConfig(enabled=False)


def blocking_redis(settings: Settings, *, timeout: float) -> redis.Redis:
    """Make a client for ordinary code. `timeout` (seconds) bounds the connecting and each answer.

    A command that timed out may have been carried out, and it is never sent again: a second
    XADD would be a second lead.
    """
    return redis.Redis.from_url(
        settings.queue_url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        maint_notifications_config=_NO_NOTICES,
    )


def async_redis(settings: Settings, *, timeout: float, connections: int) -> redis.asyncio.Redis:
    """Make a client for the event loop, as `blocking_redis` does, with at most so many connections.

    Who finds all of them in use waits for one, `timeout` seconds at the most.
    """
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        settings.queue_url,
        timeout=timeout,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=AsyncRetry(NoBackoff(), 0),
        maint_notifications_config=_NO_NOTICES,
        max_connections=connections,
    )
    return redis.asyncio.Redis.from_pool(pool)
