"""Moves a queue to another number of shards, or to another Redis, while leads come in.

From the fence on nothing is appended to the old queue, and the API goes to the next one; workers empty both. A fence is
set in each shard, and an Idempotency-Key is looked up behind it first, so that no key is used in both queues.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import redis
from sqlalchemy import Connection

from schema.counts.widths import DAY
from schema.queue import accepted_by_source, accepted_counts, entries, keys
from schema.queue.accepted_by_source import AcceptedBySource, Bucket
from schema.queue.accepted_counts import Accepted
from schema.queue.dead_letters import DROP, PAGE_SIZE
from schema.queue.script import Script
from schema.runtime.confirmation import Topology, confirm
from schema.runtime.redis_clients import ShardClient
from schema.settings import Settings
from schema.settings.shards import Shard, home_of

ADOPT = Script(
    Path(__file__).parent / "adopt.lua",
    keys={"DEAD": keys.DEAD, "INDEX": keys.INDEX},
    arguments=("lead", "key", "digest", "ttl"),
    constants={"DEAD_PREFIX": keys.DEAD_PREFIX},
)

# Longest wait (seconds) for the replicas to have a fence, or dead letters that are moved.
MOVE_TIMEOUT = 5.0

REQUEST_LOG_KEYS = (keys.REQUESTS, keys.REQUESTS_HELD, keys.REQUEST_ERRORS, keys.REQUEST_ERRORS_HELD)


class Moving:
    """A move from one queue to the next. Every method may be run again, and raises RedisError."""

    def __init__(self, old: Sequence[ShardClient], new: Sequence[ShardClient], settings: Settings) -> None:
        self._old = old
        self._new = new
        self._replicas = settings.redis_replicas
        self._key_ttl = settings.idempotency_ttl
        self._request_age = int(settings.request_log_age * DAY)
        self._topologies = {shard: Topology(shard) for shard, _ in (*old, *new)}

    def fence(self, connection: Connection) -> None:
        """Let the next queue take leads, and the old one none. On return the fence is on the replicas, too.

        Raises SQLAlchemyError.
        """
        for each in self._new:
            self._open(each, connection)
        for shard, client in self._old:
            with client.client() as single:
                single.set(shard.name(keys.FENCE), 1)
                self._confirm(shard, single)

    def waiting(self) -> int:
        """Return how many leads the old queue still has for the workers."""
        return sum(int(client.xlen(shard.name(keys.STREAM))) for shard, client in self._old)

    def is_fenced(self) -> bool:
        """Tell whether the old queue is closed and the next one open: a failover may have lost either."""
        old, new = (
            [bool(client.exists(shard.name(keys.FENCE))) for shard, client in each] for each in (self._old, self._new)
        )
        return all(old) and not any(new)

    def move_dead_letters(self) -> int:
        """Move the dead letters to the next queue; return how many. Each is in one of the two at any time."""
        with ExitStack() as stack:
            new = [_Next(each, stack.enter_context(each.client.client())) for each in self._new]
            return sum(self._move_letters(each, new) for each in self._old)

    def close(self, connection: Connection) -> None:
        """Copy the old queue's counts to the database, and remove them from Redis; let its request log expire.

        What sources have sent today goes to the next queue first, where their daily caps are counted on; on return of
        that it is on the replicas, too. Call it when nothing waits. Raises SQLAlchemyError.
        """
        self._hand_on_days(self._old, self._new)
        for each in self._old:
            _copy_and_forget_counts(each, connection)
            for key in REQUEST_LOG_KEYS:
                each.client.expire(each.shard.name(key), self._request_age)

    def _hand_on_days(self, given: Sequence[ShardClient], taking: Sequence[ShardClient]) -> None:
        """Write what counts against daily caps in some shards into those of another queue."""
        days = sum((_read_counts(each)[1].of_days() for each in given), Counter[Bucket]())
        homes: dict[int, dict[str, int]] = {}
        for bucket, number in days.items():
            fields = homes.setdefault(home_of(keys.source_name(bucket.source), len(taking)), {})
            # Absolute, so that a second run does no harm. Once the queue is emptied there is nothing to write.
            fields[keys.MOVED_MARK + bucket.field] = number
        for home, fields in homes.items():
            shard, client = taking[home]
            with client.client() as single:
                single.hset(shard.name(keys.SOURCES_ACCEPTED), mapping=fields)
                self._confirm(shard, single)

    def _open(self, each: ShardClient, connection: Connection) -> None:
        """Lift the fence of a shard that was left before. Its counts go first: it does not know the keys since then."""
        shard, client = each
        if client.exists(shard.name(keys.FENCE)):
            # What its sources sent before it was left: the queue that is left now hands it back at the end.
            self._hand_on_days([each], self._old)
            _copy_and_forget_counts(each, connection)
            # What the other queue took meanwhile is a gap in what this one remembers.
            client.delete(shard.name(keys.FIRST_LEADS_SINCE))
            client.delete(shard.name(keys.FENCE))

    def _move_letters(self, place: ShardClient, new: Sequence["_Next"]) -> int:
        old: Any = place.client
        drop = DROP.register(place.client, place.shard)
        moved = 0
        while page := old.xrange(place.shard.name(keys.DEAD), count=PAGE_SIZE):
            adopted = [self._adopt(fields, new) for _, fields in page]
            for home in {each.home for each in adopted}:
                self._confirm(home.place.shard, home.single)
            for (letter, _), each in zip(page, adopted, strict=True):
                if drop(letter=letter, lead=each.lead):
                    moved += 1
                elif each.letter:
                    # It was replayed meanwhile, and its lead waits in the old queue.
                    DROP.register(each.home.place.client, each.home.place.shard)(letter=each.letter, lead=each.lead)
        return moved

    def _adopt(self, fields: dict[bytes, bytes], new: Sequence["_Next"]) -> "_Adopted":
        lead = entries.id_of(fields.get(entries.LEAD_FIELD, b"")) or b""
        key = fields.get(entries.KEY_FIELD, b"").decode()
        key = keys.IDEMPOTENCY_PREFIX + key if key else ""
        source = entries.source_of(fields.get(entries.LEAD_FIELD, b""))
        name = keys.source_name(source) if source else key or lead.hex()
        home = new[home_of(name, len(new))]
        letter = ADOPT.register(home.single, home.place.shard)(
            lead=lead,
            key=key and home.place.shard.name(key),
            digest=fields.get(entries.DIGEST_FIELD, b""),
            ttl=self._key_ttl,
            rest=[part for field in fields.items() for part in field],
        )
        return _Adopted(home, lead, letter)

    def _confirm(self, shard: Shard, single: redis.Redis) -> None:
        if self._replicas:
            confirm(single, shard, self._replicas, MOVE_TIMEOUT, self._topologies[shard])


class _Next(NamedTuple):
    """A shard of the next queue, with a client of one connection, which the replicas are asked for."""

    place: ShardClient
    single: redis.Redis


class _Adopted(NamedTuple):
    """What became of a dead letter: where it belongs, its lead, and its entry there unless it was there before."""

    home: _Next
    lead: bytes
    letter: bytes


def _read_counts(each: ShardClient) -> tuple[Accepted, AcceptedBySource]:
    shard, client = each
    found: Any = client.hgetall(shard.name(keys.ACCEPTED))
    accepted = Accepted.parse(found)
    of_sources: Any = client.hgetall(shard.name(keys.SOURCES_ACCEPTED))
    return accepted, AcceptedBySource.parse(accepted.epoch, of_sources)


def _copy_and_forget_counts(each: ShardClient, connection: Connection) -> None:
    accepted, of_sources = _read_counts(each)
    with connection.begin():
        accepted_counts.copy(connection, accepted)
        accepted_by_source.copy(connection, of_sources)
    each.client.delete(*map(each.shard.name, (keys.ACCEPTED, keys.SOURCES_ACCEPTED)))
