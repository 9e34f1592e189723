"""Moves a queue to another number of shards, or to another Redis, while leads come in.

From the fence on nothing is appended to the old queue, and the API goes to the next one; workers empty both. A fence is
set in each shard, and an Idempotency-Key is looked up behind it first, so that no key is used in both queues.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from schema.queue import accepted_counts, entries, keys
from schema.queue.accepted_counts import Accepted
from schema.queue.dead_letters import DROP, PAGE_SIZE
from schema.queue.script import Script
from schema.runtime.redis_clients import ShardClient
from schema.runtime.redis_replicas import Topology, confirm
from schema.settings import Settings
from schema.settings.shards import Shard, home_of

ADOPT = Script(
    Path(__file__).parent / "adopt.lua",
    keys={"DEAD": keys.DEAD, "INDEX": keys.INDEX},
    arguments=("lead", "key", "digest", "ttl"),
    constants={"DEAD_PREFIX": keys.DEAD_PREFIX},
)

# Longest wait (seconds) for the replicas to have a fence.
FENCE_TIMEOUT = 5.0


class Moving:
    """A move from one queue to the next. Every method may be run again, and raises RedisError."""

    def __init__(self, old: Sequence[ShardClient], new: Sequence[ShardClient], settings: Settings) -> None:
        self._old = old
        self._new = new
        self._replicas = settings.redis_replicas
        self._key_ttl = settings.idempotency_ttl

    def fence(self) -> None:
        """Let the next queue take leads, and the old one none. On return the fence is on the replicas, too."""
        for shard, client in self._new:
            client.delete(shard.name(keys.FENCE))
        for shard, client in self._old:
            with client.client() as connection:
                connection.set(shard.name(keys.FENCE), 1)
                if self._replicas:
                    confirm(connection, self._replicas, FENCE_TIMEOUT, Topology(shard))

    def waiting(self) -> int:
        """Return how many leads the old queue still has for the workers."""
        return sum(int(client.xlen(shard.name(keys.STREAM))) for shard, client in self._old)

    def move_dead_letters(self) -> int:
        """Move the dead letters to the next queue; return how many. Each is in one of the two at any time."""
        return sum(map(self._move_letters, self._old))

    def close(self, connection: Connection) -> None:
        """Copy the old queue's counts to the database, in a transaction of its own, and remove them from Redis.

        Call it when nothing waits. Raises SQLAlchemyError.
        """
        for shard, client in self._old:
            name = shard.name(keys.ACCEPTED)
            found: Any = client.hgetall(name)
            with connection.begin():
                accepted_counts.copy(connection, Accepted.parse(found))
            client.delete(name)

    def _move_letters(self, place: ShardClient) -> int:
        old: Any = place.client
        drop = DROP.register(place.client, place.shard)
        moved = 0
        while page := old.xrange(place.shard.name(keys.DEAD), count=PAGE_SIZE):
            for letter, fields in page:
                lead = entries.id_of(fields.get(entries.LEAD_FIELD, b"")) or b""
                self._adopt(lead, fields)
                drop(letter=letter, lead=lead)
                moved += 1
        return moved

    def _adopt(self, lead: bytes, fields: dict[bytes, bytes]) -> None:
        key = fields.get(entries.KEY_FIELD, b"").decode()
        key = keys.IDEMPOTENCY_PREFIX + key if key else ""
        shard, client = self._new[home_of(key or lead.hex(), len(self._new))]
        ADOPT.register(client, shard)(
            lead=lead,
            key=key and shard.name(key),
            digest=fields.get(entries.DIGEST_FIELD, b""),
            ttl=self._key_ttl,
            rest=[part for field in fields.items() for part in field],
        )


def is_fenced(shards: Sequence[ShardClient]) -> bool:
    """Tell whether all shards are fenced. Raises RedisError."""
    return all(client.exists(shard.name(keys.FENCE)) for shard, client in shards)


def described(shards: Sequence[Shard]) -> str:
    """Return a queue's number of shards for people."""
    return f"{len(shards)} shard{'s' if len(shards) > 1 else ''}"
