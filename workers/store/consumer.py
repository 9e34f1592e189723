"""One pool process's place in the consumer group: takes leads from the stream and settles them.

A lead that was taken is pending until it is settled, buried or released. What a process
leaves pending when it dies, or is stopped for longer than `claim_after`, another takes over.
"""

import os
import socket
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from redis.exceptions import ResponseError

from schema.queue import stream
from schema.queue.stream import Entry
from schema.queue.tickets import QUEUE
from schema.runtime import logs
from schema.settings import Settings

BURY = (Path(__file__).parent / "dead_letter.lua").read_text()
SETTLE = (Path(__file__).parent / "acknowledge.lua").read_text()

# Most pending entries of one process that are looked at: those just claimed, and what it failed to finish before.
PENDING_MAX = 100_000

# A look for what others left goes through all that is pending, 0.3 µs of Redis's time for each lead. So a process looks
# once in so many seconds, or in this part of the time after which leads may be claimed.
LOOK_EVERY = 1.0
LOOK_PART = 0.1

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Taken:
    """What one look at the stream brought."""

    entries: list[Entry] = field(default_factory=list)
    # Delivered so often without being finished that each is tried alone.
    suspects: list[Entry] = field(default_factory=list)
    # Delivered so often that nobody tries again.
    hopeless: list[Entry] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.entries) + len(self.suspects) + len(self.hopeless)


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits: leads in the stream that nobody has taken, and tickets in the Celery queue."""

    untaken: int
    tickets: int


class Consumer:
    """A consumer of the group. Each process has a name of its own, never used again."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self._client: Any = client  # redis-py's types leave open whether text or bytes come back
        # Not as dictionaries, which take longer to make than all else that is done with an answer.
        client.set_response_callback("XREADGROUP", _entries)
        self._name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._claim_after = int(settings.claim_after * 1000)
        self._look_every = min(LOOK_EVERY, settings.claim_after * LOOK_PART)
        self._next_look = 0.0
        self._alone = settings.deliveries_alone
        self._max = settings.deliveries_max
        self._bury = client.register_script(BURY)
        self._settle = client.register_script(SETTLE)

    def take(self, most: int) -> Taken:
        """Take up to `most` leads: first those that another process left, if it is time to look, then new ones.

        Never blocks.

        Raises RedisError.
        """
        try:
            return self._take(most)
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
        self._make_group()
        return self._take(most)

    def settle(self, entries: list[Entry], ids: list[bytes]) -> Backlog:
        """Remove stored leads from the queue. Only call it once their rows are committed.

        Raises RedisError; then some process will find the leads again, and their rows.
        """
        names = [entry.name for entry in entries]
        untaken, tickets = self._settle(
            keys=[stream.STREAM, stream.INDEX, QUEUE], args=[stream.GROUP, len(names), *names, *ids]
        )
        return Backlog(untaken, tickets)

    def take_ticket(self) -> None:
        """Take the oldest ticket off its queue: its batch is being stored. A lost ticket loses nothing.

        Raises RedisError.
        """
        self._client.rpop(QUEUE)

    def bury(self, entry: Entry, reason: str) -> bool:
        """Make an entry a dead letter with its reason, in one step; False when another did before.

        Raises RedisError.
        """
        lead = stream.id_of(entry.payload) or b""
        keys = [stream.STREAM, stream.DEAD, stream.INDEX]
        return bool(self._bury(keys=keys, args=[stream.GROUP, entry.name, reason, lead]))

    def release(self, entries: list[Entry], suspects: Sequence[Entry] = ()) -> None:
        """Leave leads to whoever looks next, without counting this delivery against them.

        Raises RedisError; then they are claimed when `claim_after` is over.
        """
        self._next_look = 0.0
        for group, deliveries in ((entries, 0), (suspects, self._alone + 1)):
            if group:
                self._client.xclaim(
                    stream.STREAM,
                    stream.GROUP,
                    self._name,
                    min_idle_time=0,
                    message_ids=[entry.name for entry in group],
                    idle=self._claim_after,
                    retrycount=deliveries,
                    justid=True,
                )

    def _take(self, most: int) -> Taken:
        taken = self._claim(most) if time.monotonic() >= self._next_look else Taken()
        rest = most - len(taken)
        if rest > 0:
            found = self._client.xreadgroup(stream.GROUP, self._name, {stream.STREAM: ">"}, count=rest)
            taken.entries.extend(stream.parse_flat(*each) for each in found)
        return taken

    def _claim(self, most: int) -> Taken:
        taken = Taken()
        _, found, _ = self._client.xautoclaim(
            stream.STREAM, stream.GROUP, self._name, min_idle_time=self._claim_after, start_id="0-0", count=most
        )
        if not found:
            self._next_look = time.monotonic() + self._look_every
            return taken
        log.info("leads claimed", leads=len(found))
        deliveries = {
            pending["message_id"]: pending["times_delivered"]
            for pending in self._client.xpending_range(
                stream.STREAM,
                stream.GROUP,
                min=found[0][0],
                max=found[-1][0],
                count=PENDING_MAX,
                consumername=self._name,
            )
        }
        for each in found:
            entry = stream.parse(*each)
            times = deliveries.get(entry.name, 1)
            if times > self._max:
                taken.hopeless.append(entry)
            elif times > self._alone:
                taken.suspects.append(entry)
            else:
                taken.entries.append(entry)
        return taken

    def _make_group(self) -> None:
        """Make the consumer group, from the stream's beginning: all that is there is still to be stored."""
        try:
            self._client.xgroup_create(stream.STREAM, stream.GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
            return
        # Right on the first start; later it means that Redis has lost its data.
        log.warning("consumer group made")


def _entries(answer: Any, **_: Any) -> list[list[Any]]:
    """Return the entries of the one stream that was read, each a name and a list of names and values."""
    if not answer:
        return []
    # As RESP3 and RESP2 write it.
    found: list[list[Any]] = next(iter(answer.values())) if isinstance(answer, dict) else answer[0][1]
    return found
