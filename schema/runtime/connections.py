"""Connections to Redis that are lost as soon as they are of no more use, so that the next one follows a failover."""

import asyncio
import threading
from typing import Any

import redis.asyncio
import redis.sentinel
from redis.asyncio import sentinel as async_sentinel
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import ResponseError

# How a primary refuses writes that too few replicas follow (min-replicas-to-write): one that was cut off, or paused,
# before it is told that another one has taken over.
NO_REPLICAS = "NOREPLICAS"


class AsyncConnection(redis.asyncio.Connection):
    """A connection to one server. Writing to one that is closed raises ConnectionError; nothing was sent then.

    When the kernel gives up a host that is gone (KEEPALIVE) while the connection is idle, nobody is told; uvloop raises
    RuntimeError at the next write, which no caller takes for a lost connection.
    """

    async def send_packed_command(self, *arguments: Any, **options: Any) -> None:
        """Send a command. Raises RedisError."""
        if not self.is_connected:
            # redis-py alone connects to the address of before, and does not ask who the primary is.
            await self.connect()
        try:
            await super().send_packed_command(*arguments, **options)
        except RuntimeError as error:
            raise NotConnected(str(error)) from None


class AsyncSentinelConnection(async_sentinel.SentinelManagedConnection, AsyncConnection):
    """A connection to the primary that Sentinels name."""


class FollowingConnection(redis.Connection):
    """A connection that asks who the primary is whenever it connects again."""

    def send_packed_command(self, *arguments: Any, **options: Any) -> None:
        """Send a command. Raises RedisError."""
        if not self.is_connected:
            # redis-py alone connects to the address of before.
            self.connect()
        super().send_packed_command(*arguments, **options)


class SentinelConnection(redis.sentinel.SentinelManagedConnection, FollowingConnection):
    """A connection to the primary that Sentinels name; lost when that has no replicas, so that they are asked again."""

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Read an answer. Raises RedisError.

        The connection is closed after any error that leaves an answer unread. redis-py does so, but under Sentinel only
        for errors that are retried: a late answer was read as the answer to the next command.
        """
        try:
            return super().read_response(*arguments, **{"disconnect_on_error": True, **options})
        except ResponseError as error:
            if not str(error).startswith(NO_REPLICAS):
                raise
            self.disconnect()
            raise NotConnected(NO_REPLICAS) from None


class OneByOneSentinels(redis.sentinel.Sentinel):
    """Sentinels that one thread asks at a time.

    redis-py moves the one that answered to the front of its list; two that do so at once overwrite a third.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._lock = threading.Lock()
        super().__init__(*arguments, **options)

    def discover_master(self, service_name: str) -> Any:
        """Return the primary's host and port. Raises RedisError."""
        with self._lock:
            return super().discover_master(service_name)


class AsyncOneByOneSentinels(async_sentinel.Sentinel):
    """OneByOneSentinels for the event loop."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._lock = asyncio.Lock()
        super().__init__(*arguments, **options)

    async def discover_master(self, service_name: str) -> Any:
        """Return the primary's host and port. Raises RedisError."""
        async with self._lock:
            return await super().discover_master(service_name)
