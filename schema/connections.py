"""Connections to the queue. Make each after the fork that will use it."""

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from schema.settings import Settings


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
        health_check_interval=0,
    )


def async_redis(settings: Settings, *, timeout: float, connections: int) -> redis.asyncio.Redis:
    """Make a client for the event loop, as `blocking_redis` does, with at most so many connections."""
    return redis.asyncio.Redis.from_url(
        settings.queue_url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=AsyncRetry(NoBackoff(), 0),
        health_check_interval=0,
        max_connections=connections,
    )
