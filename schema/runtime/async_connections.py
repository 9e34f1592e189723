"""Asyncio connections to Redis that are lost, not defective, once the kernel has closed them."""

from typing import Any

import redis.asyncio
from redis.asyncio import sentinel as async_sentinel
from redis.exceptions import ConnectionError as NotConnected


class LostWhenClosed:
    """Mixed into a connection: writing to one that is closed raises ConnectionError; nothing was sent then.

    When the kernel gives up a host that is gone (KEEPALIVE) while the connection is idle, nobody is told; uvloop raises
    RuntimeError at the next write, which no caller takes for a lost connection.
    """

    async def send_packed_command(self, *arguments: Any, **options: Any) -> None:
        """Send a command. Raises RedisError."""
        try:
            await super().send_packed_command(*arguments, **options)  # type: ignore[misc]
        except RuntimeError as error:
            raise NotConnected(str(error)) from None


class Connection(LostWhenClosed, redis.asyncio.Connection):
    """A connection to one server."""


class SentinelConnection(LostWhenClosed, async_sentinel.SentinelManagedConnection):
    """A connection to the primary that Sentinels name."""
