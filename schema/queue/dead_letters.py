"""Dead letters: leads that cannot be stored. They never expire; an operator replays or drops them."""

import re
from collections.abc import Iterator
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
LETTER_NAME_RULE = {"pattern": "^[0-9]{1,19}-[0-9]{1,19}$"}

_number = re.compile("[0-9]{1,20}")


def is_name(text: str) -> bool:
    """Tell whether `text` has the form of an entry's name in Redis: two numbers below 2**64."""
    first, dash, second = text.partition("-")
    return bool(dash) and all(_number.fullmatch(part) and int(part) < 1 << 64 for part in (first, second))


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter."""

    name: str  # entry in the dead-letter stream
    reason: str
    payload: bytes  # the lead as it was accepted, JSON

    @property
    def lead(self) -> LeadId | None:
        """The lead's id, or None when the payload holds none."""
        return entries.id_of(self.payload)

    @property
    def since(self) -> datetime:
        """The time when it became a dead letter, by Redis's clock, in UTC."""
        return datetime.fromtimestamp(int(self.name.partition("-")[0]) / 1000, UTC)


class DeadLetters:
    """The dead-letter stream. Every method raises RedisError when Redis is away."""

    def __init__(self, client: redis.Redis) -> None:
        self._client: Any = client  # redis-py's types do not say whether text or bytes are returned
        self._replay = REPLAY.register(client)
        self._drop = DROP.register(client)

    def __iter__(self) -> Iterator[DeadLetter]:
        """Iterate over all letters, oldest first."""
        return self.walk()

    def count(self) -> int:
        """Return the number of letters."""
        return int(self._client.xlen(keys.DEAD))

    def walk(self, after: str | None = None, page_size: int = PAGE_SIZE) -> Iterator[DeadLetter]:
        """Iterate over the letters after the one named `after`, oldest first, reading `page_size` at a time."""
        start = f"({after}" if after else "-"
        # Ends at the newest letter of now: a letter that is replayed and dead again must not be seen twice.
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
        """Put a letter's lead back into the stream, atomically; False when the letter is gone.

        The next ticket or fallback poll stores it. A lead whose row exists is not stored again.
        """
        return bool(self._replay(letter=letter.name, lead=letter.lead or b""))

    def drop(self, letter: DeadLetter, connection: Connection) -> bool:
        """Delete a letter and its lead for good; False when the letter is gone.

        `connection` must not be in a transaction. The drop is committed to the database first, so
        that the ledger stays balanced. Raises SQLAlchemyError.
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
        """Tell whether the lead of a letter that is gone waits or is stored, because it was replayed meanwhile."""
        if self._client.hexists(keys.INDEX, lead):
            return True
        with connection.begin():
            return connection.execute(select(leads.c.id).where(leads.c.id == lead)).first() is not None


def note_dropped(connection: Connection, lead: LeadId) -> None:
    """Record in the open transaction that a lead was dropped, unless it was erased before. Idempotent."""
    dropped = select(dropped_leads.c.lead_id).where(dropped_leads.c.lead_id == lead)
    erased = select(erased_leads.c.lead_id).where(erased_leads.c.lead_id == lead)
    if connection.execute(dropped).first() is None and connection.execute(erased).first() is None:
        now = datetime.now(UTC).replace(tzinfo=None)
        connection.execute(insert(dropped_leads).values(lead_id=lead, dropped_at=now))


def _letter(name: bytes, fields: dict[bytes, bytes]) -> DeadLetter:
    reason = fields.get(keys.REASON_FIELD.encode(), b"").decode()
    return DeadLetter(name.decode(), reason, fields.get(entries.LEAD_FIELD, b""))
