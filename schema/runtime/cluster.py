"""Redis Cluster: connections that lead to the primary which owns a slot.

redis-py's own Cluster client repeats writes after a timeout, and sends WAIT over other connections than the write's.
So a shard has plain connections, and the Cluster is only asked where its slot is.
"""

import random
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ClusterDownError, MovedError, ReadOnlyError, RedisError, ResponseError
from redis.exceptions import ConnectionError as NotConnected
from redis.retry import Retry

from schema.runtime.connections import NO_REPLICAS, AsyncConnection, FollowingConnection
from schema.settings.redis_urls import Address, ClusterUrl

# Longest wait (seconds) for the answer where a primary is: nodes and Sentinels are asked one after the other.
ASK_TIMEOUT = 0.2


class SlotUnknown(NotConnected):
    """No node says who owns the slot."""


class _Nodes:
    """The nodes that can be asked: those of the URL, and those that they named."""

    def __init__(self, url: ClusterUrl, slot: int) -> None:
        self._seeds = set(url.nodes)
        self._slot = slot
        self._known: list[Address] = []
        self.options: dict[str, Any] = {
            "socket_timeout": ASK_TIMEOUT,
            "socket_connect_timeout": ASK_TIMEOUT,
            "username": url.username or None,
            "password": url.password or None,
            "decode_responses": True,
        }

    def to_ask(self) -> list[Address]:
        """Return the nodes in random order, so that one which hangs does not delay each connect."""
        nodes = [*self._seeds.union(self._known)]
        random.shuffle(nodes)
        return nodes

    def owner_in(self, slots: list[list[Any]], asked: Address) -> Address | None:
        """Return the address of the slot's primary from the answer to CLUSTER SLOTS, and remember the other nodes."""

        def address(node: list[Any]) -> Address:
            # A node that does not know its own address names none.
            return node[0] or asked[0], int(node[1])

        self._known = [address(node) for _, _, *nodes in slots for node in nodes]
        owners = (address(primary) for first, last, primary, *_ in slots if first <= self._slot <= last)
        return next(owners, None)


class Owner:
    """Finds the primary that owns a slot."""

    def __init__(self, url: ClusterUrl, slot: int) -> None:
        self._nodes = _Nodes(url, slot)

    def find(self) -> Address:
        """Return its address, by the first node that answers. Raises SlotUnknown."""
        for host, port in self._nodes.to_ask():
            client = redis.Redis(host, port, retry=Retry(NoBackoff(), 0), **self._nodes.options)
            try:
                found = self._nodes.owner_in(client.execute_command("CLUSTER", "SLOTS"), (host, port))
            except (RedisError, OSError):
                continue
            finally:
                client.close()
            if found is not None:
                return found
        raise SlotUnknown("no node of the Cluster says who has the shard")


class AsyncOwner:
    """Finds the primary that owns a slot, on the event loop."""

    def __init__(self, url: ClusterUrl, slot: int) -> None:
        self._nodes = _Nodes(url, slot)

    async def find(self) -> Address:
        """Return its address, by the first node that answers. Raises SlotUnknown."""
        for host, port in self._nodes.to_ask():
            client = redis.asyncio.Redis(host=host, port=port, retry=AsyncRetry(NoBackoff(), 0), **self._nodes.options)
            try:
                found = self._nodes.owner_in(await client.execute_command("CLUSTER", "SLOTS"), (host, port))
            except (RedisError, OSError):
                continue
            finally:
                await client.aclose()
            if found is not None:
                return found
        raise SlotUnknown("no node of the Cluster says who has the shard")


def _is_elsewhere(error: ResponseError) -> bool:
    """Tell whether a connection leads to a server that does not have the slot, or does not serve it now."""
    return isinstance(error, MovedError | ReadOnlyError | ClusterDownError) or str(error).startswith(NO_REPLICAS)


class OwnerConnection(FollowingConnection):
    """A connection to the primary that owns a slot; connecting again asks for it again."""

    def __init__(self, *, owner: Owner, **options: Any) -> None:
        self._owner = owner
        super().__init__(**options)

    def connect(self) -> None:
        """Connect to the slot's present owner, unless connected."""
        if not self.is_connected:
            self.host, self.port = self._owner.find()
        super().connect()

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Read an answer; close the connection when it says that the slot is elsewhere. Raises ConnectionError then."""
        try:
            return super().read_response(*arguments, **options)
        except ResponseError as error:
            if not _is_elsewhere(error):
                raise
            self.disconnect()
            raise NotConnected(type(error).__name__) from None


class AsyncOwnerConnection(AsyncConnection):
    """OwnerConnection for the event loop."""

    def __init__(self, *, owner: AsyncOwner, **options: Any) -> None:
        self._owner = owner
        super().__init__(**options)

    async def connect(self) -> None:
        """Connect to the slot's present owner, unless connected."""
        if not self.is_connected:
            self.host, self.port = await self._owner.find()
        await super().connect()

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Read an answer; close the connection when it says that the slot is elsewhere. Raises ConnectionError then."""
        try:
            return await super().read_response(*arguments, **options)
        except ResponseError as error:
            if not _is_elsewhere(error):
                raise
            await self.disconnect()
            raise NotConnected(type(error).__name__) from None
