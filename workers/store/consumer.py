"""A consumer of the group: claims and reads leads from the stream, acknowledges, dead-letters or gives them back.

A lead that was read is pending until it is acknowledged or dead-lettered. Once it is pending for
longer than `claim_after`, because its process died or hangs, another process claims it.
"""

import os
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import RedisError, ResponseError

from schema.queue.entries import Entry, id_of, parse, parse_flat
from schema.queue.keys import GROUP, STORING_PROBLEM, STREAM
from schema.runtime import logs
from schema.runtime.confirmation import NotConfirmed, Topology, confirm
from schema.runtime.redis_clients import ShardClient
from schema.settings import Settings
from workers.store import scripts

# Most pending entries of this process whose deliveries are read: those just claimed, and those it failed on before.
PENDING_MAX = 100_000

# Interval (seconds) of the check for leads to claim, and its upper bound as a share of `claim_after`. A check scans all
# pending entries (docs/lab/2026-11-26-behind-the-constants.md).
CLAIM_CHECK_INTERVAL = 1.0
CLAIM_CHECK_SHARE = 0.1

# Longest wait (seconds) for the replicas to have what was read.
CONFIRMATION_TIMEOUT = 2.0

# How long, seconds, a problem is shown when no other batch is tried: longer than the backoff and the sweep's interval.
PROBLEM_TTL = 120

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Claimed:
    """Leads claimed from other processes, and new ones."""

    entries: list[Entry] = field(default_factory=list)
    # More than `deliveries_alone` deliveries: each is stored in a transaction of its own.
    retry_alone: list[Entry] = field(default_factory=list)
    # More than `deliveries_max` deliveries: not tried again.
    exhausted: list[Entry] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.entries) + len(self.retry_alone) + len(self.exhausted)


class Consumer:
    """A consumer of the group of one shard. Each instance has a unique name."""

    def __init__(self, shard: ShardClient, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        client = shard.client
        self._client: Any = client  # redis-py's types do not say whether text or bytes are returned
        # Raw lists, because making redis-py's dictionaries costs more than the rest of the parsing.
        client.set_response_callback("XREADGROUP", _entries)
        self._stream = shard.shard.name(STREAM)
        self._replicas = settings.redis_replicas
        self._shard = shard.shard
        self._topology = Topology(shard.shard)
        self._name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._claim_after = int(settings.claim_after * 1000)
        self._claim_check_interval = min(CLAIM_CHECK_INTERVAL, settings.claim_after * CLAIM_CHECK_SHARE)
        self._clock = clock
        self._next_claim_check = 0.0
        self._alone = settings.deliveries_alone
        self._max = settings.deliveries_max
        self._acknowledge = scripts.ACKNOWLEDGE.register(client, shard.shard)
        self._dead_letter = scripts.DEAD_LETTER.register(client, shard.shard)

    def claim_and_read(self, most: int) -> Claimed:
        """Claim up to `most` idle leads of other processes, if a check is due, and read new ones for the rest.

        Does not wait for leads. With LEADS_REDIS_REPLICAS they are on the replicas on return: what only a lost primary
        had was promised to nobody, and its client sends it again. Raises RedisError.
        """
        if not self._replicas:
            return self._claim_and_read(self._client, most)
        # One connection for all: the replicas are asked for what this connection has written.
        with self._client.client() as connection:
            connection.set_response_callback("XREADGROUP", _entries)
            claimed = self._claim_and_read(connection, most)
            if claimed:
                try:
                    confirm(connection, self._shard, self._replicas, CONFIRMATION_TIMEOUT, self._topology)
                except NotConfirmed:
                    self.give_back(claimed.entries, [*claimed.retry_alone, *claimed.exhausted])
                    raise
        return claimed

    def acknowledge(self, entries: list[Entry], ids: list[bytes]) -> None:
        """Remove stored leads from the queue. Call it only after COMMIT.

        Raises RedisError; then a process claims the leads again and finds their rows.
        """
        names = [entry.name for entry in entries]
        self._acknowledge(group=GROUP, entries=len(names), rest=[*names, *ids])

    def dead_letter(self, entry: Entry, reason: str) -> bool:
        """Make an entry a dead letter with its reason, atomically; False when the entry is gone.

        Raises RedisError.
        """
        lead = id_of(entry.payload) or b""
        return bool(self._dead_letter(group=GROUP, entry=entry.name, reason=reason, lead=lead))

    def note_problem(self, problem: str) -> None:
        """Note why a batch was not stored, for those who ask how the service is, unless Redis is away or full."""
        with suppress(RedisError):
            self._client.set(self._shard.name(STORING_PROBLEM), problem, ex=PROBLEM_TTL)

    def give_back(self, entries: list[Entry], retry_alone: Sequence[Entry] = ()) -> None:
        """Make leads claimable at once, without counting this delivery.

        Raises RedisError; then they are claimable after `claim_after`.
        """
        self._next_claim_check = 0.0
        for group, deliveries in ((entries, 0), (retry_alone, self._alone)):
            if group:
                self._client.xclaim(
                    self._stream,
                    GROUP,
                    self._name,
                    min_idle_time=0,
                    message_ids=[entry.name for entry in group],
                    idle=self._claim_after,
                    retrycount=deliveries,
                    justid=True,
                )

    def _claim_and_read(self, connection: Any, most: int) -> Claimed:
        try:
            return self._claim_and_read_of_group(connection, most)
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
        self._make_group()
        return self._claim_and_read_of_group(connection, most)

    def _claim_and_read_of_group(self, connection: Any, most: int) -> Claimed:
        claimed = self._claim(connection, most) if self._clock() >= self._next_claim_check else Claimed()
        rest = most - len(claimed)
        if rest > 0:
            found = connection.xreadgroup(GROUP, self._name, {self._stream: ">"}, count=rest)
            claimed.entries.extend(parse_flat(*each) for each in found)
        return claimed

    def _claim(self, connection: Any, most: int) -> Claimed:
        claimed = Claimed()
        _, found, _ = connection.xautoclaim(
            self._stream, GROUP, self._name, min_idle_time=self._claim_after, start_id="0-0", count=most
        )
        if not found:
            self._next_claim_check = self._clock() + self._claim_check_interval
            return claimed
        log.info("leads claimed", leads=len(found))
        deliveries = {
            pending["message_id"]: pending["times_delivered"]
            for pending in connection.xpending_range(
                self._stream,
                GROUP,
                min=found[0][0],
                max=found[-1][0],
                count=PENDING_MAX,
                consumername=self._name,
            )
        }
        for each in found:
            entry = parse(*each)
            times = deliveries.get(entry.name, 1)
            if times > self._max:
                claimed.exhausted.append(entry)
            elif times > self._alone:
                claimed.retry_alone.append(entry)
            else:
                claimed.entries.append(entry)
        return claimed

    def _make_group(self) -> None:
        """Make the consumer group from the stream's beginning: every entry in the stream is still to be stored."""
        try:
            self._client.xgroup_create(self._stream, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
            return
        # Expected on the first start; later it means that Redis has lost its data.
        log.warning("consumer group made")


def _entries(answer: Any, **_: Any) -> list[list[Any]]:
    """Return the entries of the one stream that was read, each a name and a flat list of names and values."""
    if not answer:
        return []
    # A dictionary in RESP3, a list in RESP2.
    found: list[list[Any]] = next(iter(answer.values())) if isinstance(answer, dict) else answer[0][1]
    return found
