"""Redis clients for the queue. Make each after the fork, in the process that uses it."""

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from schema.settings import Settings

# When on, redis-py 8 does not check whether the server has closed an idle connection, and the first command after a
# restart of Redis fails.
_NO_NOTICES = MaintNotificationsConfig(enabled=False)


def blocking_redis(settings: Settings, *, timeout: float) -> redis.Redis:
    """Make a blocking client. `timeout` (seconds) bounds the connecting and each answer.

    It never retries: a command that timed out may have been executed, and a second XADD would be
    a second lead.
    """
    return redis.Redis.from_url(
        settings.queue_url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        maint_notifications_config=_NO_NOTICES,
    )


def async_redis(settings: Settings, *, timeout: float, connections: int) -> redis.asyncio.Redis:
    """Make an asyncio client with the timeout and without retries, as `blocking_redis`.

    When all `connections` are in use, a command waits for one, at most `timeout` seconds.
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
