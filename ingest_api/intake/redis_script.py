"""A connection to Redis that runs one script, again and again.

It is redis-py's connection without the client around it, whose pool, retry, packing in Python and
timeout tasks cost more than the script (docs/lab/2026-11-26-behind-the-constants.md, ADR 9).
"""

import hashlib
from typing import Any

import hiredis
import redis.asyncio
from redis.exceptions import NoScriptError

from schema.queue.script import Script, Value
from schema.runtime.redis_replicas import address_of
from schema.settings.redis_urls import Address


class ScriptConnection:
    """One connection, connected at first use and again after `drop`. One caller at a time."""

    def __init__(self, client: redis.asyncio.Redis, script: Script) -> None:
        self._client = client
        self._pool = client.connection_pool
        self._connection: Any = self._pool.make_connection()
        # The caller has a timeout around the whole run; one for each step would cost more than the step.
        self._connection.socket_timeout = None
        self._script = script
        self._keys = script.keys()
        self._sha = hashlib.sha1(script.source.encode(), usedforsecurity=False).hexdigest()

    async def connect(self) -> None:
        """Connect unless connected; reconnect if the server has closed the idle connection.

        Raises RedisError or OSError; call `drop` then. Nothing was sent.
        """
        await self._pool.ensure_connection(self._connection)

    async def run(self, arguments: list[Value]) -> list[Any]:
        """Run the script and return its answer. It is never sent twice: after an error it may or may not have run.

        Call `connect` first. Raises RedisError or OSError; call `drop` then.
        """
        command = ("EVALSHA", self._sha, len(self._keys), *self._keys, *arguments)
        try:
            answer = await self._call(command)
        except NoScriptError:
            # A restarted Redis has lost its script cache; the script did not run.
            await self._call(("SCRIPT", "LOAD", self._script.source))
            answer = await self._call(command)
        return list(answer)

    async def wait_for_replicas(self, replicas: int, milliseconds: int, *, on_disk: bool) -> int:
        """Return how many replicas have this connection's writes, after at most `milliseconds`.

        That is in their memory (WAIT), or on disk (WAITAOF). Both answer for the connection that wrote, and may wait
        a second when they are sent in one packet with the write. Raises RedisError or OSError; call `drop` then.
        """
        if on_disk:
            _, found = await self._call(("WAITAOF", 1, replicas, milliseconds))
        else:
            found = await self._call(("WAIT", replicas, milliseconds))
        return int(found)

    async def role(self) -> tuple[Address, list[Any]]:
        """Return the server's address and its answer to ROLE. Raises RedisError or OSError; call `drop` then."""
        return address_of(self._connection), await self._call(("ROLE",))

    async def drop(self) -> None:
        """Close the connection, so that a late answer is not read as the answer to the next command."""
        await self._connection.disconnect(nowait=True)

    async def close(self) -> None:
        """Close the connection and the client it came from."""
        await self._connection.disconnect()
        await self._client.aclose()

    async def _call(self, command: Any) -> Any:  # Any: hiredis's types allow tuples of one element only
        await self._connection.send_packed_command(hiredis.pack_command(command), check_health=False)
        return await self._connection.read_response()
