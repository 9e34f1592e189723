"""Dead letters: leads that cannot be stored. They never expire; an operator looks, mends and replays."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import Connection, delete, insert, select

from schema.database.tables import dropped_leads, leads
from schema.lead.lead_id import LeadId
from schema.queue import entries, keys
from schema.queue.script import Script

_HERE = Path(__file__).parent
REPLAY = Script(
    _HERE / "replay.lua",
    keys={"STREAM": keys.STREAM, "DEAD": keys.DEAD, "INDEX": keys.INDEX},
    arguments=("letter", "lead"),
    constants={"REASON_FIELD": keys.REASON_FIELD},
)
DROP = Script(_HERE / "drop.lua", keys={"DEAD": keys.DEAD, "INDEX": keys.INDEX}, arguments=("letter", "lead"))

PAGE_SIZE = 500  # letters read at once

# A letter's name in the words of JSON Schema, all but the greatest.
LETTER_NAME_RULE = {"pattern": "^[0-9]{1,19}-[0-9]{1,19}$"}

_number = re.compile("[0-9]{1,20}")


def is_name(text: str) -> bool:
    """Tell whether `text` may be the name of a letter: two numbers below 2**64, as Redis names entries."""
    first, dash, second = text.partition("-")
    return bool(dash) and all(_number.fullmatch(part) and int(part) < 1 << 64 for part in (first, second))


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter."""

    name: str  # its entry in the dead-letter stream
    reason: str
    payload: bytes  # the lead as it was accepted, JSON

    @property
    def lead(self) -> LeadId | None:
        """The lead's id, or None when the payload holds none."""
        return entries.id_of(self.payload)

    @property
    def since(self) -> datetime:
        """When it became a dead letter, by Redis's clock, in UTC."""
        return datetime.fromtimestamp(int(self.name.partition("-")[0]) / 1000, UTC)


class DeadLetters:
    """The dead-letter stream. Every method raises RedisError when Redis is away."""

    def __init__(self, client: redis.Redis) -> None:
        self._client: Any = client  # redis-py's types leave open whether text or bytes come back
        self._replay = REPLAY.register(client)
        self._drop = DROP.register(client)

    def __iter__(self) -> Iterator[DeadLetter]:
        """Walk all letters, the oldest first."""
        return self.walk()

    def count(self) -> int:
        """Return how many there are."""
        return int(self._client.xlen(keys.DEAD))

    def walk(self, after: str | None = None, page_size: int = PAGE_SIZE) -> Iterator[DeadLetter]:
        """Walk the letters after the one named `after`, reading `page_size` at once."""
        start = f"({after}" if after else "-"
        # What becomes a dead letter during the walk, perhaps since the walk replayed it, is not part of it.
        newest = self._client.xrevrange(keys.DEAD, "+", "-", count=1)
        end = newest[0][0] if newest else "+"
        while page := self._client.xrange(keys.DEAD, start, end, count=page_size):
            yield from (_letter(*each) for each in page)
            start = f"({page[-1][0].decode()}"

    def find(self, name: str) -> DeadLetter | None:
        """Return one letter, or None."""
        found = self._client.xrange(keys.DEAD, name, name)
        return _letter(*found[0]) if found else None

    def replay(self, letter: DeadLetter) -> bool:
        """Put a letter's lead back into the queue, in one step; False when another did before.

        The next ticket or sweep finds it. A lead whose row is there already is not stored again.
        """
        return bool(self._replay(letter=letter.name, lead=letter.lead or b""))

    def drop(self, letter: DeadLetter, connection: Connection) -> bool:
        """Delete a letter, and so the lead, for good; False when it was gone before.

        `connection` begins outside a transaction. That the lead was dropped is committed to the
        database first, so that the ledger stays balanced. Raises SQLAlchemyError.
        """
        if letter.lead:
            with connection.begin():
                note_dropped(connection, letter.lead)
        dropped = bool(self._drop(letter=letter.name, lead=letter.lead or b""))
        if letter.lead and not dropped and self._lives(letter.lead, connection):
            with connection.begin():
                connection.execute(delete(dropped_leads).where(dropped_leads.c.lead_id == letter.lead))
        return dropped

    def _lives(self, lead: LeadId, connection: Connection) -> bool:
        """Tell whether a lead that is no dead letter any more waits or is stored: another replayed it."""
        if self._client.hexists(keys.INDEX, lead):
            return True
        with connection.begin():
            return connection.execute(select(leads.c.id).where(leads.c.id == lead)).first() is not None


def note_dropped(connection: Connection, lead: LeadId) -> None:
    """Note in the database that a lead was dropped; once noted, noting it again does nothing."""
    known = select(dropped_leads.c.lead_id).where(dropped_leads.c.lead_id == lead)
    if connection.execute(known).first() is None:
        now = datetime.now(UTC).replace(tzinfo=None)
        connection.execute(insert(dropped_leads).values(lead_id=lead, dropped_at=now))


def _letter(name: bytes, fields: dict[bytes, bytes]) -> DeadLetter:
    reason = fields.get(keys.REASON_FIELD.encode(), b"").decode()
    return DeadLetter(name.decode(), reason, fields.get(entries.LEAD_FIELD, b""))
