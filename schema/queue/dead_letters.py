"""Dead letters: leads that cannot be stored. They never expire; an operator replays or drops them."""

import heapq
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import Connection, delete, insert, select

from schema.database.tables import dropped_leads, erased_leads, leads
from schema.lead.lead_id import LeadId
from schema.queue import entries, keys
from schema.queue.script import Script
from schema.runtime.redis_clients import ShardClient
from schema.settings.shards import WHOLE, Shard

_HERE = Path(__file__).parent
REPLAY = Script(
    _HERE / "replay.lua",
    keys={"STREAM": keys.STREAM, "DEAD": keys.DEAD, "INDEX": keys.INDEX},
    arguments=("letter", "lead"),
    constants={"REASON_FIELD": keys.REASON_FIELD},
)
DROP = Script(_HERE / "drop.lua", keys={"DEAD": keys.DEAD, "INDEX": keys.INDEX}, arguments=("letter", "lead"))

PAGE_SIZE = 500  # letters in one XRANGE

# JSON Schema of a letter's name; leaves out the numbers of 20 digits.
LETTER_NAME_RULE = {"pattern": "^[0-9]{1,19}-[0-9]{1,19}(-[0-9]{1,5})?$"}

_number = re.compile("[0-9]{1,20}")


def is_name(text: str) -> bool:
    """Tell whether `text` has the form of a letter's name: two numbers of 64 bits, and in a shard its hash tag."""
    parts = text.split("-")
    return len(parts) in (2, 3) and all(_number.fullmatch(part) and int(part) < (1 << 64) - 1 for part in parts)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter."""

    entry: str  # in the dead-letter stream
    reason: str
    payload: bytes  # the lead as it was accepted, JSON
    shard: Shard = WHOLE

    @property
    def name(self) -> str:
        """What operators and clients call it: the entry and, where the queue has shards, the shard's hash tag."""
        return f"{self.entry}-{self.shard.tag}" if self.shard.tag else self.entry

    @property
    def lead(self) -> LeadId | None:
        """The lead's id, or None when the payload holds none."""
        return entries.id_of(self.payload)

    @property
    def since(self) -> datetime:
        """The time when it became a dead letter, by Redis's clock, in UTC."""
        return datetime.fromtimestamp(int(self.entry.partition("-")[0]) / 1000, UTC)


class DeadLetters:
    """The dead-letter streams of all shards as one. Every method raises RedisError when Redis is away."""

    def __init__(self, shards: Sequence[ShardClient]) -> None:
        self._shards = {shard: _ShardLetters(shard, client) for shard, client in shards}

    def __iter__(self) -> Iterator[DeadLetter]:
        """Iterate over all letters, oldest first."""
        return self.walk()

    def count(self) -> int:
        """Return the number of letters."""
        return sum(each.count() for each in self._shards.values())

    def walk(self, after: str | None = None, page_size: int = PAGE_SIZE) -> Iterator[DeadLetter]:
        """Iterate over the letters after the one named `after`, oldest first, reading `page_size` at a time."""
        walks = [each.walk(after, page_size) for each in self._shards.values()]
        return heapq.merge(*walks, key=lambda letter: _order(letter.name))

    def reasons(self, most: int) -> Counter[str]:
        """Return how many letters there are of each reason, of the newest `most` in each shard."""
        return sum((each.reasons(most) for each in self._shards.values()), Counter())

    def find(self, name: str) -> DeadLetter | None:
        """Return one letter, or None."""
        entry, tag = _parts(name)
        found = (letters.find(entry) for shard, letters in self._shards.items() if shard.tag == tag)
        return next((each for each in found if each is not None), None)

    def replay(self, letter: DeadLetter) -> bool:
        """Put a letter's lead back into the stream, atomically; False when the letter is gone.

        The next ticket or fallback poll stores it. A lead whose row exists is not stored again.
        """
        return self._shards[letter.shard].replay(letter)

    def drop(self, letter: DeadLetter, connection: Connection) -> bool:
        """Delete a letter and its lead for good; False when the letter is gone.

        `connection` must not be in a transaction. The drop is committed to the database first, so
        that the ledger stays balanced. Raises SQLAlchemyError.
        """
        if letter.lead:
            with connection.begin():
                note_dropped(connection, letter.lead)
        dropped = self._shards[letter.shard].drop(letter)
        if letter.lead and not dropped and self._lives(letter.lead, connection):
            with connection.begin():
                connection.execute(delete(dropped_leads).where(dropped_leads.c.lead_id == letter.lead))
        return dropped

    def _lives(self, lead: LeadId, connection: Connection) -> bool:
        """Tell whether the lead of a letter that is gone waits or is stored, because it was replayed meanwhile."""
        if any(each.has(lead) for each in self._shards.values()):
            return True
        with connection.begin():
            return connection.execute(select(leads.c.id).where(leads.c.id == lead)).first() is not None


class _ShardLetters:
    """The dead-letter stream of one shard."""

    def __init__(self, shard: Shard, client: redis.Redis) -> None:
        self._client: Any = client  # redis-py's types do not say whether text or bytes are returned
        self._shard = shard
        self._dead = shard.name(keys.DEAD)
        self._replay = REPLAY.register(client, shard)
        self._drop = DROP.register(client, shard)

    def count(self) -> int:
        return int(self._client.xlen(self._dead))

    def walk(self, after: str | None, page_size: int) -> Iterator[DeadLetter]:
        start = self._start(after) if after else "-"
        # Ends at the newest letter of now: a letter that is replayed and dead again must not be seen twice.
        newest = self._client.xrevrange(self._dead, "+", "-", count=1)
        end = newest[0][0] if newest else "+"
        while page := self._client.xrange(self._dead, start, end, count=page_size):
            yield from (self._letter(*each) for each in page)
            start = f"({page[-1][0].decode()}"

    def reasons(self, most: int) -> Counter[str]:
        newest = self._client.xrevrange(self._dead, "+", "-", count=most)
        return Counter(self._letter(*each).reason for each in newest)

    def find(self, entry: str) -> DeadLetter | None:
        found = self._client.xrange(self._dead, entry, entry)
        return self._letter(*found[0]) if found else None

    def replay(self, letter: DeadLetter) -> bool:
        return bool(self._replay(letter=letter.entry, lead=letter.lead or b""))

    def drop(self, letter: DeadLetter) -> bool:
        return bool(self._drop(letter=letter.entry, lead=letter.lead or b""))

    def has(self, lead: LeadId) -> bool:
        return bool(self._client.hexists(self._shard.name(keys.INDEX), lead))

    def _start(self, after: str) -> str:
        """Return where this shard's letters behind the one named `after` begin, which may be another shard's."""
        entry, tag = _parts(after)
        return entry if _order(f"{entry}-{self._shard.tag}") > _order(f"{entry}-{tag}") else f"({entry}"

    def _letter(self, entry: bytes, fields: dict[bytes, bytes]) -> DeadLetter:
        reason = fields.get(keys.REASON_FIELD.encode(), b"").decode()
        return DeadLetter(entry.decode(), reason, fields.get(entries.LEAD_FIELD, b""), self._shard)


def _parts(name: str) -> tuple[str, str]:
    """Return the entry and the shard's hash tag in a letter's name."""
    milliseconds, number, *tag = name.split("-")
    return f"{milliseconds}-{number}", tag[0] if tag else ""


def _order(name: str) -> tuple[int, ...]:
    """Return what letters are ordered by: time, number, shard."""
    return tuple(int(part or -1) for part in name.split("-"))


def note_dropped(connection: Connection, lead: LeadId) -> None:
    """Record in the open transaction that a lead was dropped, unless it was erased before. Idempotent."""
    dropped = select(dropped_leads.c.lead_id).where(dropped_leads.c.lead_id == lead)
    erased = select(erased_leads.c.lead_id).where(erased_leads.c.lead_id == lead)
    if connection.execute(dropped).first() is None and connection.execute(erased).first() is None:
        now = datetime.now(UTC).replace(tzinfo=None)
        connection.execute(insert(dropped_leads).values(lead_id=lead, dropped_at=now))
