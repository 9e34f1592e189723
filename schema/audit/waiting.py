"""The stream of events that wait in Redis for the sweep to store them: the API does not write to the database."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from schema.audit.event import Event
from schema.queue.keys import AUDIT, EVENT_FIELD
from schema.queue.script import Script
from schema.runtime.redis_clients import ShardClient

# Most events that wait; while no worker moves them, later ones are refused. About 150 bytes each.
WAITING_MAX = 100_000

APPEND_EVENTS = Script(
    Path(__file__).parent / "append_events.lua",
    keys={"AUDIT": AUDIT},
    arguments=("most",),
    constants={"EVENT_FIELD": EVENT_FIELD},
)

Entry = tuple[bytes, bytes]  # its name in the stream, and the encoded event


def append(shard: ShardClient, events: Sequence[Event]) -> int:
    """Append events; return how many were refused because too many wait. Durable on return, as a lead is.

    Raises RedisError.
    """
    return int(
        APPEND_EVENTS.register(shard.client, shard.shard)(most=WAITING_MAX, rest=[each.encode() for each in events])
    )


def read(shard: ShardClient, number: int) -> list[Entry]:
    """Return the oldest entries, `number` at most. Raises RedisError."""
    found: Any = shard.client.xrange(shard.shard.name(AUDIT), count=number)
    return [(name, fields.get(EVENT_FIELD.encode(), b"")) for name, fields in found]


def remove(shard: ShardClient, entries: Sequence[Entry]) -> None:
    """Remove entries. Raises RedisError."""
    shard.client.xdel(shard.shard.name(AUDIT), *(name for name, _ in entries))
